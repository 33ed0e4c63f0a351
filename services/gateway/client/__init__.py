"""The `pointmill` command and the Python client below it: only the public HTTP API, nothing else.

From a program:

    async with Pointmill(url, api_key) as api:
        sent = await send_file(api, Path("town.laz"))
        job = await follow_job(api, sent.job["id"])
        copc = await find_product(api, sent.cloud["id"], "copc")
        await fetch_product(api, sent.cloud["id"], copc, Path("town.copc.laz"))

with `Pointmill` from `.api`, `send_file` from `.upload`, `follow_job` from `.follow` and
`find_product` and `fetch_product` from `.download`. All of them raise a `Failure` (`.failures`) and nothing else.
"""
