"""A few lines that do in this process what `cluster.py` asks of Ray, without a second to wait.

For: test_cluster_driver.py. Actors run when they are waited for; one that dies, hangs or is on a
node that is gone gives what Ray gives. Not for: pytest to collect.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any


class RayError(Exception):
    """As in ray.exceptions."""


class RayTaskError(RayError):
    """What a method of an actor raised."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


class Killed(BaseException):
    """Raised in an actor: its process is gone."""


class Stopped(BaseException):
    """Raised in an actor: it answers no more."""


class Ref:
    """A result that is made when it is waited for."""

    def __init__(self, actor: "Actor", call: Callable[[], Any]) -> None:
        self.actor, self.call = actor, call
        self.made = False
        self.value: Any = None


class Actor:
    """An actor's handle: `actor.method.remote(...)`."""

    numbers = itertools.count()

    def __init__(self, ray: "FakeRay", made: Any, options: dict[str, Any]) -> None:
        self._ray, self._made, self.options = ray, made, options
        self.alive, self.stopped, self.home = True, False, ray.place(options)
        self.queue: list[Ref] = []

    def __getattr__(self, name: str) -> Any:
        def remote(*given: Any) -> Ref:
            ref = Ref(self, lambda: getattr(self._made, name)(*given))
            self.queue.append(ref)
            return ref

        return SimpleNamespace(remote=remote)

    def run(self, until: Ref) -> None:
        """Work its calls in order, as far as they can be."""
        while not until.made and not (self.stopped and self.alive) and self.home is not None:
            ref = self.queue.pop(0)
            ref.made = True
            try:
                if not self.alive or self.home not in self._ray.alive:
                    raise Killed
                ref.value = ref.call()
            except Exception as error:
                ref.value = RayTaskError(error)
            except Killed:
                self.alive = False
                ref.value = RayError("The actor died.")
            except Stopped:
                self.stopped, ref.made = True, False
                self.queue.insert(0, ref)


class Clock:
    """Stands for the module `time`: goes on only when somebody waits, so that no load matters."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    perf_counter = monotonic

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class FakeRay:
    """What `cluster._ray` gives: a cluster of nodes with one CPU each, and a GPU on some."""

    exceptions = SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError)

    def __init__(self, nodes: int) -> None:
        self.alive = set(range(nodes))
        self.gpus: set[int] = set()
        self.actors: list[Actor] = []
        self.clock = Clock()
        self.util = SimpleNamespace(get_node_ip_address=lambda: "here")

    def is_initialized(self) -> bool:
        return True

    def nodes(self) -> list[dict[str, Any]]:
        return [
            {"Alive": True, "Resources": {"CPU": 1.0, "GPU": float(node in self.gpus)}}
            for node in self.alive
        ]

    def cluster_resources(self) -> dict[str, float]:
        """All together; a resource of which there is none is not in it."""
        sizes = Counter[str]()
        for node in self.nodes():
            sizes.update(node["Resources"])
        return {name: size for name, size in sizes.items() if size}

    available_resources = cluster_resources

    def place(self, options: dict[str, Any]) -> int | None:
        """A node without an actor; None where there is none."""
        taken = {actor.home for actor in self.actors if actor.alive}
        nodes = self.alive & self.gpus if "num_gpus" in options else self.alive
        return min(nodes - taken, default=None)

    def remote(self, kind: type) -> Any:
        def with_options(**options: Any) -> Any:
            def make(*given: Any) -> Actor:
                self.actors.append(Actor(self, kind(*given), options))
                return self.actors[-1]

            return SimpleNamespace(remote=make)

        return SimpleNamespace(options=with_options)

    def wait(
        self, refs: Sequence[Ref], num_returns: int = 1, timeout: float = 0.0
    ) -> tuple[list[Ref], list[Ref]]:
        for actor in self.actors:
            # Room that came since it was asked for.
            if actor.home is None:
                actor.home = self.place(actor.options)
        for ref in refs:
            ref.actor.run(ref)
        self.clock.sleep(0.01 if any(ref.made for ref in refs) else timeout)
        return [ref for ref in refs if ref.made], [ref for ref in refs if not ref.made]

    def get(self, ref: Ref, timeout: float = 0.0) -> Any:
        ref.actor.run(ref)
        if isinstance(ref.value, Exception):
            raise ref.value
        return ref.value

    def kill(self, actor: Actor, no_restart: bool) -> None:
        actor.alive = False
