#!/usr/bin/env bash
# Guess: A JWK without `alg` can verify every algorithm of its key type. The list of algorithms in
#   the call decides.
# So: PyJWT gives an RSA key without `alg` the algorithm RS256 and refuses valid RS512 and PS256
#   tokens of that key, although the call allows them. jose verifies them. The member is optional in
#   a JWK.
# Matters: The users of an issuer that signs with PS256 and leaves `alg` out are locked out of every
#   service that gives PyJWT the JWK. The bare key (jwk.key) works.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python=$(for p in python3.13 "$HOME"/.pyenv/versions/3.13.*/bin/python3.13 python3.12 python3.11 python3; do
  if "$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo "$p"; break; fi
done)
"${python:?This script needs Python 3.11 or later.}" -m venv venv
venv/bin/pip install -qq --disable-pip-version-check 'PyJWT[crypto]==2.15.1'
echo '{"private": true}' > package.json
npm install --silent --no-audit --no-fund --ignore-scripts 'jose@6.2.18'

venv/bin/python - <<'EOF'
import json
import subprocess
import sys

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

failed = []


def check(words, seen, expected):
    print(f"{words}\n    {seen!r}")
    if seen != expected:
        print(f"    CHANGED. It was {expected!r}")
        failed.append(words)


print(f"PyJWT {jwt.__version__}, jose 6.2.18")
private = rsa.generate_private_key(65537, 2048)
public = json.loads(RSAAlgorithm.to_jwk(private.public_key()))
jwk = {"kty": "RSA", "n": public["n"], "e": public["e"]}
ALLOWED = ["RS256", "RS512", "PS256"]
PROGRAM = """
const { decodeProtectedHeader, importJWK, jwtVerify } = await import('jose');
const [token, jwk, algorithms] = JSON.parse(process.argv[1]);
const key = await importJWK(jwk, decodeProtectedHeader(token).alg);
console.log((await jwtVerify(token, key, { algorithms })).payload.sub);
"""


def pyjwt(algorithm, key):
    token = jwt.encode({"sub": "user"}, private, algorithm)
    try:
        return jwt.decode(token, key, algorithms=ALLOWED)["sub"]
    except jwt.PyJWTError as error:
        return str(error)


def jose(algorithm):
    token = jwt.encode({"sub": "user"}, private, algorithm)
    command = ["node", "--input-type=module", "-e", PROGRAM, json.dumps([token, jwk, ALLOWED])]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


key = jwt.PyJWK(jwk)
check("RS256", pyjwt("RS256", key), "user")
for algorithm in ("RS512", "PS256"):
    words = f"Token algorithm '{algorithm}' does not match the key's algorithm 'RS256'"
    check(algorithm, pyjwt(algorithm, key), words)
    check(f"{algorithm} with the bare key", pyjwt(algorithm, key.key), "user")
    check(f"{algorithm} with jose", jose(algorithm), "user")

sys.exit(bool(failed))
EOF
