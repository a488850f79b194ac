// Reads {secrets, deliveries: [{headers, body}]} and prints for each delivery which secrets verify it.
import { readFileSync } from "node:fs";
import { Webhook } from "standardwebhooks";

const { secrets, deliveries } = JSON.parse(readFileSync(0, "utf8"));

function verifies(secret, { headers, body }) {
  try {
    new Webhook(secret).verify(body, headers);
    return true;
  } catch {
    return false;
  }
}

console.log(JSON.stringify(deliveries.map((delivery) => secrets.map((secret) => verifies(secret, delivery)))));
