#!/usr/bin/env python3
"""aiocoap as an outside peer, in either role.

    aiocoap_peer.py serve --bind HOST:PORT [--credentials FILE.diag]
    aiocoap_peer.py drive [--credentials FILE.diag]

`serve` prints `ready` when it can be asked, and ends with its standard input. `drive` reads one
command a line from standard input and prints one result a line, both JSON, so that one client can be
kept alive while the server that it talks to comes and goes:

    {"do": "request", "code": "GET", "uri": "coap://...", "payload": "hex", "options": {...}}
    {"do": "observe", "uri": "coap://..."}        the first representation
    {"do": "next"}                                the next notification of the observation
    {"do": "cancel"}                              forgets the observation
    {"do": "credentials", "file": "..."}          loads further credentials

A payload goes out as hexadecimal digits. One of more than 1,024 bytes comes back as its length and
SHA-256 only.
"""

import argparse
import asyncio
import hashlib
import json
import os
import sys
from pathlib import Path

# UDP only: no TCP or TLS listeners beside the socket under test.
os.environ.setdefault("AIOCOAP_SERVER_TRANSPORT", "oscore:udp6")
os.environ.setdefault("AIOCOAP_CLIENT_TRANSPORT", "oscore:udp6")

import aiocoap
import aiocoap.resource as resource
import cbor2
import cbor_diag
from aiocoap.credentials import CredentialsMap
from aiocoap.numbers.codes import Code
from aiocoap.oscore_sitewrapper import OscoreSiteWrapper
from aiocoap.util import hostportsplit

LARGE = 102_400


def pattern(length):
    """The body that both sides of a test can make: byte i is i * 7 + i / 256, modulo 256."""
    return bytes((i * 7 + (i >> 8)) & 0xFF for i in range(length))


def load_credentials(into, path):
    into.load_from_dict(cbor2.loads(cbor_diag.diag2cbor(Path(path).read_text())))


class Hello(resource.Resource):
    async def render_get(self, request):
        return aiocoap.Message(payload=b"hello from aiocoap", content_format=0)


class Large(resource.Resource):
    async def render_get(self, request):
        return aiocoap.Message(payload=pattern(LARGE), content_format=42)


class WhoAmI(resource.Resource):
    async def render_get(self, request):
        claims = getattr(request.remote, "authenticated_claims", [])
        return aiocoap.Message(payload=json.dumps(claims).encode(), content_format=50)


class Store(resource.ObservableResource):
    """Keeps what is put; tells its observers of every change."""

    def __init__(self):
        super().__init__()
        self.body = None

    async def render_get(self, request):
        if self.body is None:
            return aiocoap.Message(code=Code.NOT_FOUND)
        return aiocoap.Message(payload=self.body, content_format=42)

    async def render_put(self, request):
        code = Code.CREATED if self.body is None else Code.CHANGED
        self.body = request.payload
        self.updated_state()
        return aiocoap.Message(code=code)

    async def render_post(self, request):
        digest = hashlib.sha256(request.payload).hexdigest()
        return aiocoap.Message(code=Code.CHANGED, payload=digest.encode(), content_format=0)

    async def render_delete(self, request):
        self.body = None
        return aiocoap.Message(code=Code.DELETED)


async def serve(arguments):
    site = resource.Site()
    site.add_resource(
        [".well-known", "core"], resource.WKCResource(site.get_resources_as_linkheader)
    )
    site.add_resource(["hello"], Hello())
    site.add_resource(["large"], Large())
    site.add_resource(["whoami"], WhoAmI())
    site.add_resource(["store"], Store())
    if arguments.credentials:
        credentials = CredentialsMap()
        load_credentials(credentials, arguments.credentials)
        site = OscoreSiteWrapper(site, credentials)
    context = await aiocoap.Context.create_server_context(
        site, bind=hostportsplit(arguments.bind)
    )
    print("ready", flush=True)
    try:
        # Whoever started this is gone when its end of standard input is.
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    finally:
        await context.shutdown()


def encode(option):
    try:
        return option.encode().hex()
    except OverflowError:
        # To aiocoap an OSCORE notification without a Partial IV has an Observe value of -1.
        return ""


def describe(response):
    result = {
        "code": response.code.dotted,
        "length": len(response.payload),
        "sha256": hashlib.sha256(response.payload).hexdigest(),
        "options": {
            str(int(option.number)): encode(option) for option in response.opt.option_list()
        },
    }
    if len(response.payload) <= 1024:
        result["payload"] = response.payload.hex()
    return result


class Driver:
    def __init__(self, context):
        self.context = context
        self.notifications = None
        self.observation = None

    def message(self, command):
        message = aiocoap.Message(
            code=getattr(aiocoap, command.get("code", "GET")),
            uri=command["uri"],
            payload=bytes.fromhex(command.get("payload", "")),
            transport_tuning=aiocoap.Unreliable if command.get("non") else aiocoap.Reliable,
        )
        if "pattern" in command:
            message.payload = pattern(command["pattern"])
        for name, value in command.get("options", {}).items():
            setattr(message.opt, name, bytes.fromhex(value) if isinstance(value, str) else value)
        return message

    async def request(self, command):
        return describe(await self.context.request(self.message(command)).response)

    async def observe(self, command):
        message = self.message(command)
        message.opt.observe = 0
        request = self.context.request(message)
        self.notifications = asyncio.Queue()
        self.observation = asyncio.create_task(self.collect(request.observation))
        return describe(await request.response)

    async def collect(self, observation):
        try:
            async for notification in observation:
                self.notifications.put_nowait(notification)
        except aiocoap.error.Error as error:
            self.notifications.put_nowait(error)

    async def next(self, command):
        notification = await self.notifications.get()
        if isinstance(notification, Exception):
            raise notification
        return describe(notification)

    async def cancel(self, command):
        self.observation.cancel()
        return {}

    async def credentials(self, command):
        load_credentials(self.context.client_credentials, command["file"])
        return {}


async def drive(arguments):
    context = await aiocoap.Context.create_client_context()
    if arguments.credentials:
        load_credentials(context.client_credentials, arguments.credentials)
    driver = Driver(context)
    loop = asyncio.get_running_loop()
    print("ready", flush=True)
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        command = json.loads(line)
        try:
            handler = getattr(driver, command["do"])
            result = await asyncio.wait_for(handler(command), command.get("within", 60))
        except Exception as error:
            result = {"error": type(error).__name__, "text": str(error)}
            plain = getattr(error, "plain_message", None)
            if plain is not None:
                result["code"] = plain.code.dotted
        print(json.dumps(result), flush=True)
    await context.shutdown()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    roles = parser.add_subparsers(dest="role", required=True)
    server = roles.add_parser("serve")
    server.add_argument("--bind", required=True)
    client = roles.add_parser("drive")
    for role in (server, client):
        role.add_argument("--credentials")
    arguments = parser.parse_args()
    asyncio.run(serve(arguments) if arguments.role == "serve" else drive(arguments))


if __name__ == "__main__":
    main()
