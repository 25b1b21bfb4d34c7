"""Sends webhooks beside the answering of requests: in order for each receiver, again after a failure, and with faults.

Everything runs on the server's event loop; nothing here is awaited by who moves the clock. A receiver that is down is
tried `TRIES` times, and then that webhook is lost, as the providers warn.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from sandbox.bank import State
from sandbox.faults import Fault, Faults
from sandbox.provider import Provider
from sandbox.webhooks.hook import Hook, Hooks, Receiver
from sandbox.world import Customer

TRIES = 4
_WAITS = (0.1, 0.4, 1.6)
_TIMEOUT = 5.0
_STALE = 3600
_KEPT = 1000


@dataclass
class Delivery:
    """What became of one webhook at one receiver; `attempts` are answers, or the failure to get one."""

    provider: str
    connection_id: str
    kind: str
    url: str
    fault: str | None = None
    state: str = "waiting"
    attempts: list[dict[str, Any]] = field(default_factory=list)


Moment = Mapping[tuple[str, int], State]
"""How the connections stood, by provider and customer."""


class Sender:
    """Who receives webhooks of these providers, and what was sent to them."""

    def __init__(self, providers: Mapping[str, Provider], faults: Faults) -> None:
        self._providers = providers
        self._faults = faults
        self._receivers: dict[str, list[Receiver]] = {name: [] for name in providers}
        self._tasks: set[asyncio.Task[None]] = set()
        self._composing = asyncio.Lock()
        self._idle = asyncio.Event()
        self._idle.set()
        self.deliveries: deque[Delivery] = deque(maxlen=_KEPT)
        for provider in providers.values():
            if provider.hooks is not None:
                provider.bank.watch = self._watcher(provider)
                provider.hooks.announce = self._announcer(provider.name)

    # Receivers.

    def register(self, provider: str, hooks: Hooks, url: str) -> None:
        """Send this provider's webhooks to `url` from now on; the same URL is registered once."""
        if all(one.url != url for one in self._receivers[provider]):
            self._receivers[provider].append(Receiver(url, hooks.signer))

    def registered(self) -> list[tuple[str, Receiver]]:
        """The receivers that were registered here, by provider."""
        return [(name, one) for name, receivers in self._receivers.items() for one in receivers]

    def clear(self) -> None:
        """Forget all receivers, what was sent, and what waits to be."""
        for receivers in self._receivers.values():
            receivers.clear()
        for task in self._tasks:
            task.cancel()
        self.deliveries.clear()

    # What happens.

    def look(self) -> Moment:
        """How all connections stand whose webhooks somebody receives: the beginning of what `tell` tells."""
        found = {}
        for provider in self._providers.values():
            for customer in provider.bank.world.everyone():
                if provider.serves(customer) and self._heard(provider, customer):
                    found[provider.name, customer.index] = provider.bank.state(customer)
        return found

    def tell(self, since: Moment) -> None:
        """Send, in the background, what happened since that moment."""
        now = {
            (name, index): self._providers[name].bank.state(self._providers[name].bank.world.customer(index))
            for name, index in since
        }
        if since:
            self._start(self._tell(since, now))

    async def send(self, provider: str, hook: Hook) -> list[Delivery]:
        """Send one now, once, and tell what became of it at each receiver."""
        made = self._deliveries([(provider, hook)])
        async with _client() as client:
            await asyncio.gather(*(self._deliver(client, *one, tries=1) for one in made))
        return [delivery for _, _, delivery, _ in made]

    async def settle(self, seconds: float) -> bool:
        """Wait until nothing is left to be sent, at most so long; whether nothing is."""
        try:
            await asyncio.wait_for(self._idle.wait(), seconds)
        except TimeoutError:
            return False
        return True

    @property
    def busy(self) -> bool:
        """Whether something is still to be sent."""
        return not self._idle.is_set()

    def _watcher(self, provider: Provider) -> Callable[[Customer, State], None]:
        def watch(customer: Customer, before: State) -> None:
            if self._heard(provider, customer):
                key = (provider.name, customer.index)
                self._start(self._tell({key: before}, {key: provider.bank.state(customer)}))

        return watch

    def _announcer(self, provider: str) -> Callable[[Iterable[Hook]], None]:
        return lambda hooks: self._start(self._send([(provider, hook) for hook in hooks]))

    def _heard(self, provider: Provider, customer: Customer) -> bool:
        if provider.hooks is None:
            return False
        return bool(self._receivers[provider.name] or provider.hooks.receivers(provider.connection_id(customer)))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        self._idle.clear()
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finish)

    def _finish(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not self._tasks:
            self._idle.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error

    async def _tell(self, since: Moment, now: Moment) -> None:
        composed: list[tuple[str, Hook]] = []
        async with self._composing:
            for (name, index), before in since.items():
                provider = self._providers[name]
                customer, after = provider.bank.world.customer(index), now[name, index]
                if provider.hooks is not None and not after.revoked:
                    composed += [(name, hook) for hook in provider.hooks.tell(customer, before, after)]
                await asyncio.sleep(0)  # requests are answered between two connections
        await self._send(composed)

    async def _send(self, hooks: list[tuple[str, Hook]]) -> None:
        made = self._deliveries(hooks)
        if made:
            async with _client() as client:
                await asyncio.gather(*(self._deliver(client, *one) for one in made))

    def _deliveries(self, hooks: list[tuple[str, Hook]]) -> list[tuple[Hook, Receiver, Delivery, Fault | None]]:
        """What is to be sent where, in order, with the faults that strike; `webhook_reordered` goes last."""
        made: list[tuple[Hook, Receiver, Delivery, Fault | None]] = []
        last: list[tuple[Hook, Receiver, Delivery, Fault | None]] = []
        for name, hook in hooks:
            own = self._providers[name].hooks
            wanted = [*self._receivers[name], *(own.receivers(hook.connection_id) if own is not None else [])]
            for receiver in {one.address(hook): one for one in reversed(wanted)}.values():
                if receiver.kinds is not None and hook.kind not in receiver.kinds:
                    continue
                fault = self._faults.strike(f"/{name}/{hook.kind}", hook.connection_id, webhook=True)
                kind = fault.kind if fault is not None else None
                for _ in range(2 if kind == "webhook_twice" else 1):
                    delivery = Delivery(name, hook.connection_id, hook.kind, receiver.address(hook), kind)
                    self.deliveries.append(delivery)
                    (last if kind == "webhook_reordered" else made).append((hook, receiver, delivery, fault))
        return made + last

    async def _deliver(
        self,
        client: httpx.AsyncClient,
        hook: Hook,
        receiver: Receiver,
        delivery: Delivery,
        fault: Fault | None,
        tries: int = TRIES,
    ) -> None:
        kind = fault.kind if fault is not None else None
        if kind == "webhook_lost":
            delivery.state = "lost"
            return
        if fault is not None and kind == "webhook_late":
            await asyncio.sleep(fault.seconds)
        hooks = self._providers[delivery.provider].hooks
        assert hooks is not None
        for attempt in range(tries):
            if attempt:
                await asyncio.sleep(_WAITS[attempt - 1])
            async with receiver.turn:
                status = await self._post(client, hook, receiver, delivery, kind)
            if status is not None and 200 <= status < 300:
                delivery.state = "delivered"
                return
            if not hooks.again(status):
                break
        delivery.state = "failed"

    async def _post(
        self, client: httpx.AsyncClient, hook: Hook, receiver: Receiver, delivery: Delivery, fault: str | None
    ) -> int | None:
        at = int(time.time()) - (_STALE if fault == "webhook_stale" else 0)
        headers = {"content-type": "application/json"}
        if fault != "webhook_unsigned":
            headers |= receiver.signer.headers(hook.body, at, forged=fault == "webhook_forged")
        try:
            answer = await client.post(delivery.url, content=hook.body, headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            delivery.attempts.append({"status": None, "answer": f"{type(error).__name__}: {error}"})
            return None
        delivery.attempts.append({"status": answer.status_code, "answer": answer.text[:500]})
        return answer.status_code


def _client() -> httpx.AsyncClient:
    return httpx.AsyncClient(timeout=_TIMEOUT, trust_env=False)
