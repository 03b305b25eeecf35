"""Many clients over TLS: `over_tls.py URL CA_FILE CLIENTS`. They enter room r1 and read pushes until one that says
"end"; meanwhile others connect, look at the certificate and leave, for as long as that takes. Prints "connected" once
all are in, "serial N" when one of those who look is shown another certificate than the one before, and at the end
{"received": [[texts of each client]], "serials": [those seen, in order], "strangers": what a client without CA_FILE is
told}."""

import asyncio
import json
import ssl
import sys

import websockets

url, ca_file, clients = sys.argv[1], sys.argv[2], int(sys.argv[3])
trusting = ssl.create_default_context(cafile=ca_file)


async def connected(user, context=trusting):
    socket = await websockets.connect(url, ssl=context, subprotocols=["pushcast.v1.json"], max_size=None)
    await socket.send(json.dumps({"id": 1, "connect": {"user_id": user, "rooms": ["r1"]}}))
    while "connected" not in json.loads(await socket.recv()):
        pass
    return socket


async def texts(socket):
    received = []
    async for frame in socket:
        push = json.loads(frame).get("push")
        if push is None:
            continue
        if push["text"] == "end":
            return received
        received.append(push["text"])
    raise RuntimeError("closed before the end")


async def look(serials):
    socket = await connected("looker")
    serial = socket.transport.get_extra_info("peercert")["serialNumber"]
    if serials[-1:] != [serial]:
        serials.append(serial)
        print(f"serial {serial}", flush=True)
    await socket.close()


async def keep_looking(serials):
    while True:
        await look(serials)
        await asyncio.sleep(0.02)


async def main():
    try:
        await connected("stranger", ssl.create_default_context())
        strangers = "let in"
    except ssl.SSLCertVerificationError as error:
        strangers = error.verify_message
    sockets = await asyncio.gather(*(connected(f"p{n}") for n in range(clients)))
    serials = []
    looking = asyncio.create_task(keep_looking(serials))
    print("connected", flush=True)
    reading = asyncio.gather(*(texts(socket) for socket in sockets))
    await asyncio.wait([looking, reading], return_when=asyncio.FIRST_COMPLETED)
    if looking.done():
        looking.result()
    received = await reading
    looking.cancel()
    print(json.dumps({"received": received, "serials": serials, "strangers": strangers}), flush=True)


asyncio.run(main())
