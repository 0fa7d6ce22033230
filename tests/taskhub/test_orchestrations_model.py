"""Orchestrations against a plain model: random clients, orchestrators, activities, clocks, disks and crashes."""

from collections.abc import Coroutine
from copy import deepcopy
from typing import Any

import durabletask.internal.orchestrator_service_pb2 as pb
import grpc
import hypothesis.strategies as st
from google.protobuf.wrappers_pb2 import StringValue
from hypothesis import HealthCheck, settings
from hypothesis.stateful import initialize, invariant, precondition, rule

from devhost.taskhub.alarm import LOOK_SECONDS
from devhost.taskhub.state import MICROSECONDS, microseconds, timestamp
from tests.taskhub import controlled
from tests.taskhub.controlled import LEASE_SECONDS
from tests.taskhub.machine import IDS, LIMIT, HubAndModel, ids, one_of
from tests.taskhub.model import (
    COMPLETED,
    ENDED,
    FAILED,
    PENDING,
    RUNNING,
    SUSPENDED,
    Instance,
    Told,
    told,
)


class Orchestrations(HubAndModel):
    """Everything that can happen to a hub, in any order."""

    # Clients.

    @initialize()
    def begin(self) -> None:
        for id in IDS:
            self.start(id, (), None, "", {})

    @rule(
        id=ids,
        over=st.sampled_from([(), tuple(ENDED), (FAILED,), (PENDING, RUNNING, SUSPENDED, *ENDED)]),
        later=st.sampled_from([None, None, None, -5, 50]),
        version=st.sampled_from(["", "2"]),
        tags=st.sampled_from([{}, {"team": "one"}]),
    )
    def start(self, id: str, over: tuple[int, ...], later: int | None, version: str, tags: dict[str, str]) -> None:
        request = pb.CreateInstanceRequest(instanceId=id, name="Orchestrator", tags=tags)
        request.input.value = self.label()
        if version:
            request.version.value = version
        request.orchestrationIdReusePolicy.replaceableStatus.extend(over)
        start_at = None
        if later is not None:
            start_at = self.hub.now() + later * MICROSECONDS
            request.scheduledStartTimestamp.CopyFrom(timestamp(start_at))
        earlier = self.model.instances.get(id)
        if earlier is not None and earlier.status not in (over or ENDED):
            self.refused(self.hub.hub.StartInstance(request), grpc.StatusCode.ALREADY_EXISTS)
            return
        new = Instance(
            id,
            "Orchestrator",
            self.model.number(),
            input=request.input.value,
            version=version,
            tags=tags,
            start_at=start_at,
        )
        self.act(lambda: self.model.start(new), self.hub.hub.StartInstance(request))

    @rule(id=ids, data=st.data())
    def send_something(self, id: str, data: st.DataObject) -> None:
        ask = data.draw(st.sampled_from([self.raise_event, self.raise_event, self.suspend, self.suspend, self.resume]))
        ask(id)

    def raise_event(self, id: str) -> None:
        name, data = "Go", self.label()
        request = pb.RaiseEventRequest(instanceId=id, name=name, input=StringValue(value=data))
        self.send(id, ("eventRaised", name, data), self.hub.hub.RaiseEvent(request))

    def suspend(self, id: str) -> None:
        asked = self.hub.hub.SuspendInstance(pb.SuspendRequest(instanceId=id))
        self.send(id, ("executionSuspended",), asked)

    def resume(self, id: str) -> None:
        self.send(id, ("executionResumed",), self.hub.hub.ResumeInstance(pb.ResumeRequest(instanceId=id)))

    def send(self, id: str, event: Told, asked: Coroutine[Any, Any, Any]) -> None:
        if id not in self.model.instances:
            self.refused(asked, grpc.StatusCode.NOT_FOUND)
        else:
            self.act(lambda: self.model.send(self.hub.now(), id, event), asked)

    @rule(id=ids, recurse=st.booleans())
    def terminate(self, id: str, recurse: bool) -> None:
        output = self.label()
        asked = self.hub.hub.TerminateInstance(
            pb.TerminateRequest(instanceId=id, output=StringValue(value=output), recursive=recurse)
        )
        if id not in self.model.instances:
            self.refused(asked, grpc.StatusCode.NOT_FOUND)
        else:
            self.act(lambda: self.model.terminate(self.hub.now(), id, output, recurse=recurse), asked)

    @rule(id=ids, data=st.data())
    def bring_back(self, id: str, data: st.DataObject) -> None:
        ended = sorted(i.id for i in self.model.instances.values() if i.ended)
        bring = data.draw(st.sampled_from([self.rewind, self.rewind, self.restart]))
        bring(data.draw(st.sampled_from(ended)) if ended else id)

    def rewind(self, id: str) -> None:
        asked = self.hub.hub.RewindInstance(pb.RewindInstanceRequest(instanceId=id))
        instance = self.model.instances.get(id)
        if instance is None:
            self.refused(asked, grpc.StatusCode.NOT_FOUND)
        elif instance.status != FAILED:
            self.refused(asked, grpc.StatusCode.FAILED_PRECONDITION)
        else:
            self.act(lambda: self.model.rewind(instance), asked)

    def restart(self, id: str) -> None:
        asked = self.hub.hub.RestartInstance(pb.RestartInstanceRequest(instanceId=id))
        instance = self.model.instances.get(id)
        if instance is None:
            self.refused(asked, grpc.StatusCode.NOT_FOUND)
            return
        on_disk = self.durable.instances.get(id)
        if not instance.ended or on_disk is None or (on_disk.execution, on_disk.ended) != (instance.execution, True):
            self.refused(asked, grpc.StatusCode.FAILED_PRECONDITION)
            return
        again = Instance(id, instance.name, self.model.number(), instance.input, instance.version, dict(instance.tags))
        self.act(lambda: self.model.start(again), asked)

    @rule(id=ids, by_filter=st.booleans(), recursive=st.booleans(), status=st.sampled_from([None, FAILED, COMPLETED]))
    def purge(self, id: str, by_filter: bool, recursive: bool, status: pb.OrchestrationStatus | None) -> None:
        if by_filter:
            self.purge_by_filter(recursive, status)
        else:
            self.purge_named([id], pb.PurgeInstancesRequest(instanceId=id))

    def purge_by_filter(self, recursive: bool, status: pb.OrchestrationStatus | None) -> None:
        self.release()
        named = [i.id for i in self.model.instances.values() if i.ended and status in (None, i.status)]
        chosen = pb.PurgeInstanceFilter(runtimeStatus=[] if status is None else [status])
        request = pb.PurgeInstancesRequest(purgeInstanceFilter=chosen, recursive=recursive)
        self.purge_named(named, request)

    def purge_named(self, named: list[str], request: pb.PurgeInstancesRequest) -> None:
        count = self.model.purge(named, recursive=request.recursive)
        task = self.hub.call(self.hub.hub.PurgeInstances(request))
        self.note(task)
        if task.done():
            assert task.result().deletedInstanceCount == count

    # Orchestrators.

    @rule(data=st.data(), steps=st.integers(1, 4))
    def work(self, data: st.DataObject, steps: int) -> None:
        for _ in range(steps):
            episodes, activities = self.hub.of_kind("orchestratorRequest"), self.hub.of_kind("activityRequest")
            if episodes and (not activities or data.draw(st.booleans())):
                self.answer(data)
            elif activities:
                self.finish(data, data.draw(st.sampled_from([False, False, True])))

    def answer(self, data: st.DataObject) -> None:
        item = one_of(data, self.hub.of_kind("orchestratorRequest"))
        self.stale.append(item.completionToken)
        instance = self.model.instances.get(item.orchestratorRequest.instanceId)
        current = instance is not None and instance.running is not None and self.is_current(item, instance)
        if instance is None or not current:
            # It was terminated or replaced meanwhile: the answer is to no effect.
            self.note(self.hub.answer(item, controlled.end(result='"of another"')))
            return
        decided, actions = self.decide(data, item, instance)
        custom_status = data.draw(st.sampled_from(["", '"half way"']))
        clock = microseconds(item.orchestratorRequest.newEvents[0].timestamp)
        self.model.answer(self.hub.now(), instance, clock, decided, custom_status)
        if decided and decided[-1][0] == "again":
            instance.custom_status = ""
        self.note(self.hub.answer(item, *actions, custom_status=custom_status or None))

    # Activities.

    def finish(self, data: st.DataObject, fails: bool) -> None:
        item = one_of(data, self.hub.of_kind("activityRequest"))
        self.stale.append(item.completionToken)
        label, task = item.activityRequest.input.value, item.activityRequest.taskId
        answer = ("taskFailed", task, "Failure") if fails else ("taskCompleted", task, label)
        self.model.complete(self.hub.now(), label, answer)
        self.note(self.hub.finish(item, label, "failed" if fails else None))

    # Workers that repeat themselves, give up, or go.

    @rule(data=st.data())
    def disturb(self, data: st.DataObject) -> None:
        if self.hub.items and data.draw(st.booleans()):
            self.abandon(data)
        else:
            data.draw(st.sampled_from([self.leave, self.leases_expire]))()

    @precondition(lambda self: self.stale)
    @rule(data=st.data(), as_activity=st.booleans())
    def complete_again(self, data: st.DataObject, as_activity: bool) -> None:
        token = one_of(data, self.stale)
        if as_activity:
            asked = self.hub.hub.CompleteActivityTask(pb.ActivityResponse(completionToken=token))
        else:
            asked = self.hub.hub.CompleteOrchestratorTask(pb.OrchestratorResponse(completionToken=token))
        self.hub.ask(asked)

    def abandon(self, data: st.DataObject) -> None:
        item = one_of(data, list(self.hub.items.values()))
        self.give_back([item])
        self.hub.hub.work.abandon(item.completionToken)
        self.hub.idle()

    def leave(self) -> None:
        self.give_back(list(self.hub.items.values()))
        self.hub.detach()
        self.hub.attach()

    def leases_expire(self) -> None:
        self.give_back(list(self.hub.items.values()))
        self.advance(LEASE_SECONDS)

    def give_back(self, items: list[pb.WorkItem]) -> None:
        for item in items:
            del self.hub.items[item.completionToken]
            self.stale.append(item.completionToken)
            if item.HasField("orchestratorRequest"):
                instance = self.model.instances.get(item.orchestratorRequest.instanceId)
                if instance is not None and instance.running is not None and self.is_current(item, instance):
                    self.model.take_back(instance)

    # Time.

    @rule(data=st.data())
    def time_passes(self, data: st.DataObject) -> None:
        if data.draw(st.sampled_from([False, False, True])):
            self.jump(data.draw(st.sampled_from([-3600, -15, 15, 3600])))
        else:
            self.advance(data.draw(st.sampled_from([5, 20, 300])))

    def advance(self, seconds: float) -> None:
        self.hub.loop.seconds += seconds
        self.model.ring(self.hub.now())
        self.hub.idle()

    def jump(self, seconds: int) -> None:
        self.hub.jump(seconds)
        self.advance(LOOK_SECONDS + 1)

    # The disk, and crashes.

    @precondition(lambda self: not self.hub.disk.held)
    @rule()
    def hold(self) -> None:
        """The disk is slow from here on."""
        self.committed = deepcopy(self.model)
        self.hub.disk.held = True

    @precondition(lambda self: self.hub.disk.held)
    @rule()
    def commit_once(self) -> None:
        self.hub.commit_once()
        self.see_what_is_written()

    @precondition(lambda self: self.hub.disk.held)
    @rule()
    def release(self) -> None:
        self.hub.disk.held = False
        self.hub.commit()
        self.see_what_is_written()
        assert not self.written, "not acknowledged"
        self.committed = None

    def see_what_is_written(self) -> None:
        while self.written and self.written[0][0].done():
            task, self.committed = self.written.pop(0)
            task.result()

    @rule(killed=st.sampled_from([True, True, False]))
    def end_of_the_host(self, killed: bool) -> None:
        if killed:
            self.crash()
        else:
            self.restart_host()

    def crash(self) -> None:
        if self.committed is not None:
            self.model = self.committed
        self.model.crash(self.hub.now())
        self.written, self.committed = [], None
        self.stale.extend(self.hub.items)
        self.hub.items.clear()
        self.hub.crash()

    def restart_host(self) -> None:
        self.release()
        self.model.crash(self.hub.now())
        self.hub.items.clear()
        self.hub.restart()

    # What always holds.

    @invariant()
    def the_disk_says_what_was_acknowledged(self) -> None:
        assert self.hub.failure is None
        for id in {*IDS, *self.durable.instances}:
            state, expected = self.hub.state(id), self.durable.instances.get(id)
            assert (state is None) == (expected is None), id
            if state is None or expected is None:
                continue
            found = (
                state.orchestrationStatus,
                state.input.value,
                state.output.value,
                state.customStatus.value,
                state.version.value,
                dict(state.tags),
                state.HasField("completedTimestamp"),
                state.HasField("failureDetails"),
                state.parentInstanceId.value,
            )
            assert found == (
                expected.status,
                expected.input,
                expected.output,
                expected.custom_status,
                expected.version,
                expected.tags,
                expected.ended,
                expected.status == FAILED,
                expected.parent.id if expected.parent is not None else "",
            ), id
            assert [told(event) for event in self.hub.history(id)] == expected.history, id

    @invariant()
    def whatever_can_go_on_is_in_the_worker_s_hands(self) -> None:
        episodes = len(self.hub.of_kind("orchestratorRequest"))
        waiting = [i.id for i in self.model.instances.values() if i.ready(self.hub.now())]
        assert not waiting or episodes == LIMIT, f"{waiting} wait with {episodes} episodes in hand"
        held = {item.activityRequest.input.value for item in self.hub.of_kind("activityRequest")}
        open_ = set(self.durable.activities) & set(self.model.activities)
        assert held == open_ or len(held) == LIMIT, f"{open_ - held} wait with {len(held)} activities in hand"

    @invariant()
    def nothing_is_kept_of_what_has_ended(self) -> None:
        if not self.hub.disk.held:
            unfinished = {i.id for i in self.model.instances.values() if not i.ended}
            assert set(self.hub.hub._orchestrations.unfinished) == unfinished


TestOrchestrations = Orchestrations.TestCase
TestOrchestrations.settings = settings(
    max_examples=100, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
