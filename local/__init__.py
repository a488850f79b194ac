"""The whole stack on one Linux machine, without Docker and without AWS. Development only."""
