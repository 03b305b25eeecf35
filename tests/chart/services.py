"""Addresses of a network of this machine's own, and Services on it: what CNI and kube-proxy do."""

import asyncio
import functools
import itertools
import socket
import threading

# kube-proxy hears of a pod's end a moment after the pod does, so some connections still go there.
LAG = 1.0


class Network:
    """A part of 127.0.0.0/8 that no other run of these tests has: 127.n.0.0/16."""

    def __init__(self):
        self.lock = socket.socket()
        for self.number in range(64, 192):
            try:
                self.lock.bind((f"127.{self.number}.255.254", 9009))
                break
            except OSError:
                continue
        else:
            raise AssertionError("128 runs at once")
        self.pods, self.services = itertools.count(1), itertools.count(1)

    def pod(self):
        return f"127.{self.number}.1.{next(self.pods)}"

    def service(self):
        return f"127.{self.number}.2.{next(self.services)}"

    def close(self):
        self.lock.close()


class Loop:
    """An event loop in a thread."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()

    def begin(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    def run(self, coroutine, seconds=30):
        return self.begin(coroutine).result(seconds)

    def close(self, *servers):
        async def stop():
            for server in servers:
                server.close()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        self.run(stop())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


class Service:
    """Takes connections at an address of its own and gives each to the next ready pod, as a ClusterIP does. Those that
    are there stay where they are."""

    def __init__(self, manifest, address, kubelets):
        self.name = manifest["metadata"]["name"]
        self.selector = manifest["spec"]["selector"]
        self.ports = manifest["spec"]["ports"]
        self.address, self.kubelets = address, kubelets
        self.turn, self.servers = itertools.count(), []

    async def listen(self):
        for port in self.ports:
            serve = functools.partial(self.serve, port)
            self.servers.append(await asyncio.start_server(serve, self.address, port["port"]))

    def close(self):
        for server in self.servers:
            server.close()

    def endpoints(self):
        return [one.pod for one in self.kubelets() if one.takes_connections(LAG) and self.selects(one.pod)]

    def selects(self, pod):
        return self.selector.items() <= pod.labels.items()

    async def serve(self, port, reader, writer):
        open_writers = [writer]
        try:
            pods = self.endpoints()
            pod = pods[next(self.turn) % len(pods)]
            from_pod, to_pod = await asyncio.open_connection(pod.address, pod.port(port["targetPort"]))
            open_writers.append(to_pod)
            await asyncio.gather(pump(reader, to_pod), pump(from_pod, writer))
        except (ZeroDivisionError, OSError, asyncio.CancelledError):
            # Nobody is there, or the test is over: the caller sees the connection end.
            pass
        finally:
            for one in open_writers:
                one.transport.abort()


async def pump(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.write_eof()
    except OSError:
        writer.transport.abort()
