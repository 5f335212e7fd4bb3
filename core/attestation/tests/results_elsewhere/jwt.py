"""Reads {"token", "key" (JWK), "alg"} on stdin, verifies the JWT with jwcrypto, checks it against draft-ietf-rats-ear-04 and RFC
9711 and prints its claims. Exits with 1 where the signature does not hold, with 2 where the claims are not what the draft asks."""

import json
import re
import sys

from draft import ask, check
from jwcrypto import jwk, jws

request = json.load(sys.stdin)
token = jws.JWS()
token.allowed_algs = [request["alg"]]
try:
    token.deserialize(request["token"], jwk.JWK(**request["key"]))
except (jws.InvalidJWSObject, jws.InvalidJWSSignature) as error:
    sys.stderr.write(f"{error!r}\n")
    sys.exit(1)
ask(token.jose_header == {"typ": "eat+jwt", "alg": request["alg"]}, "the header has type and algorithm alone")
claims = json.loads(token.payload)
check(claims)
ask(re.fullmatch(r"[A-Za-z0-9_-]{11,86}", claims["eat_nonce"]), "the nonce is 8 to 64 bytes in base64url")
print(json.dumps(claims))
