#!/usr/bin/env bash
# KMock 0.8, a mock of the Kubernetes API: a reaction may be a function that returns a `Response`. Its headers
# are then also sent with every later answer of that reaction, whatever the function returns by then. So a test
# that answers one request with 429 and Retry-After has that header in all successes after it, and cookies stay
# in the same way; only the status is replaced.
#
# Seen:
#     1: 429, Retry-After 7
#     2: 200, Retry-After 7
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip --quiet --disable-pip-version-check install kmock==0.8 aiohttp==3.14.5

cat >mock.py <<'SCRIPT'
import asyncio
import itertools

import aiohttp
import kmock


async def main() -> None:
    numbers = itertools.count(1)

    def busy_at_first() -> kmock.Response:
        if next(numbers) == 1:
            return kmock.Response(status=429, payload={}, headers={"Retry-After": "7"})
        return kmock.Response(status=200, payload={"kind": "PodList", "items": []})

    async with kmock.RawHandler() as mock, kmock.Server(mock) as server:
        mock["get /api/v1/pods"] << busy_at_first
        async with aiohttp.ClientSession() as client:
            for number in (1, 2):
                async with client.get(server.url / "api/v1/pods") as answer:
                    print(f"{number}: {answer.status}, Retry-After {answer.headers.get('Retry-After')}")


asyncio.run(main())
SCRIPT
venv/bin/python mock.py | tee seen
diff seen - <<'EXPECTED'
1: 429, Retry-After 7
2: 200, Retry-After 7
EXPECTED
