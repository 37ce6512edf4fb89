#!/usr/bin/env python3
"""Drives the local Marathon through the client `marathon` of the Python registry, which nobody here wrote.

    marathon_client.py URL

Every method of the client is called at least once and what it parsed is looked at. Prints what it tried, and ends with
1 at the first thing that is not as it should be.
"""

import sys
import threading
import time
import urllib.parse

from marathon import MarathonClient, MarathonHttpError
from marathon.models import MarathonApp, MarathonConstraint, MarathonGroup
from marathon.models.app import PortDefinition
from marathon.models.events import MarathonDeploymentSuccess, MarathonStatusUpdateEvent

LIMIT = 60


def until(what, look):
    """Looks again and again until there is something, and gives it."""
    end = time.monotonic() + LIMIT
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {LIMIT} s")
        time.sleep(0.05)


def refused(status, call):
    try:
        call()
    except MarathonHttpError as error:
        assert error.status_code == status, error
        return error
    raise AssertionError(f"it was not refused with {status}")


class Listener(threading.Thread):
    """What the event stream said, by type."""

    def __init__(self, client):
        super().__init__(daemon=True)
        self.client, self.heard, self.attached = client, [], threading.Event()

    def run(self):
        kinds = [MarathonDeploymentSuccess, MarathonStatusUpdateEvent]
        self.attached.set()
        for event in self.client.event_stream(event_types=kinds):
            self.heard.append(event)

    def saw(self, kind, app):
        for event in list(self.heard):
            apps = getattr(event, "app_id", None), *(getattr(event, "plan", None) or {}).get("affectedApps", [])
            if isinstance(event, kind) and (app in apps or kind is MarathonDeploymentSuccess):
                return event
        return None


def sleeper(instances=1, **other):
    return MarathonApp(cmd="exec sleep 1000", instances=instances, mem=16, cpus=0.01, **other)


def about(client):
    assert client.ping().strip() in (b"pong", b'"pong"')
    info = client.get_info()
    assert info.name == "marathon" and info.version.count(".") >= 2, info
    leader = client.get_leader()["leader"]
    assert ":" in leader and leader == info.leader, (leader, info.leader)
    assert isinstance(client.get_metrics(), dict)


def running(client, app, count):
    def look():
        found = client.get_app(app, embed_tasks=True)
        return found if found.tasks_running == count and not found.deployments else None

    return until(f"{app} runs {count} times", look)


def apps(client, listener):
    made = client.create_app("/python/one", sleeper(2, labels={"tier": "a"}))
    assert made.id == "/python/one" and made.deployments, made
    app = running(client, "/python/one", 2)
    assert len(app.tasks) == 2 and all(task.app_id == "/python/one" for task in app.tasks), app.tasks
    first = app.version
    until("the stream says that it runs", lambda: listener.saw(MarathonStatusUpdateEvent, "/python/one"))
    until("the stream says that the deployment is done", lambda: listener.saw(MarathonDeploymentSuccess, None))
    refused(409, lambda: client.create_app("/python/one", sleeper()))
    assert refused(404, lambda: client.get_app("/python/none")).error_message
    assert refused(422, lambda: client.create_app("/python/bad", sleeper(-1))).error_details

    client.create_app("/python/two", sleeper(0, labels={"tier": "b"}, constraints=[MarathonConstraint("hostname", "LIKE", ".*")]))
    ids = lambda **how: sorted(app.id for app in client.list_apps(**how))
    until("both are there and at rest", lambda: ids() == ["/python/one", "/python/two"] and not client.list_deployments())
    assert ids(label="tier==b") == ["/python/two"]
    assert ids(cmd="sleep 1000") == ["/python/one", "/python/two"]
    embedded = client.list_apps(embed_counts=True, embed_tasks=True, embed_deployments=True, embed_last_task_failure=True)
    assert {app.id: app.tasks_running for app in embedded} == {"/python/one": 2, "/python/two": 0}

    updated = client.update_app("/python/one", MarathonApp(env={"A": "1"}))
    assert updated["deploymentId"] and updated["version"], updated
    app = until("it has the new version", lambda: (a := running(client, "/python/one", 2)).version != first and a)
    assert app.env["A"] == "1" and app.cmd == "exec sleep 1000", "an update without a field leaves it as it is"
    assert first in client.list_versions("/python/one")
    assert "A" not in client.get_version("/python/one", first).env
    client.rollback_app("/python/one", first)
    until("it is rolled back", lambda: "A" not in running(client, "/python/one", 2).env)

    client.scale_app("/python/one", delta=1)
    running(client, "/python/one", 3)
    client.scale_app("/python/one", instances=1)
    app = running(client, "/python/one", 1)
    task = app.tasks[0].id
    client.restart_app("/python/one")
    until("its task is another one", lambda: running(client, "/python/one", 1).tasks[0].id != task)
    many = client.update_apps([MarathonApp(id="/python/one", labels={"x": "y"}), MarathonApp(id="/python/two", mem=17)])
    assert many["deploymentId"], many
    until("both are changed", lambda: client.get_app("/python/two").mem == 17 and running(client, "/python/one", 1))


def tasks(client):
    task = until("there is a task", lambda: client.list_tasks("/python/one"))[0]
    assert task.app_id == "/python/one" and task.started_at, task
    assert [one.id for one in client.list_tasks()] == [task.id]
    assert any("one" in endpoint.task_id for endpoint in client.list_endpoints()) or client.list_endpoints() == []

    def replaced(old):
        found = client.list_tasks("/python/one")
        return found[0].id if found and found[0].id != old and found[0].started_at else None

    killed = client.kill_task("/python/one", task.id)
    assert killed.id == task.id, killed
    task = until("another one is there", lambda: replaced(task.id))
    client.kill_tasks("/python/one")
    task = until("another one is there", lambda: replaced(task))
    assert client.kill_given_tasks([task])
    task = until("another one is there", lambda: replaced(task))
    running(client, "/python/one", 1)
    assert client.kill_task("/python/one", task, scale=True)["deploymentId"]
    until("it is scaled down", lambda: client.get_app("/python/one").instances == 0)


def waiting(client):
    """An app that wants a port that is taken, its place in the queue, and two ways to end its deployment."""
    port = urllib.parse.urlsplit(sys.argv[1]).port
    wants = sleeper(require_ports=True, port_definitions=[PortDefinition(port=port)])
    client.create_app("/python/stuck", wants)
    queued = until("it is queued", lambda: [item for item in client.list_queue() if item.app.id == "/python/stuck"])
    assert queued[0].count == 1 and queued[0].delay.overdue is not None, queued
    client.list_queue(embed_last_unused_offers=True)
    client.reset_delay("/python/stuck")
    deployment = until("it is deployed", lambda: [d for d in client.list_deployments() if "/python/stuck" in d.affected_apps])[0]
    refused(409, lambda: client.update_app("/python/stuck", MarathonApp(mem=17)))
    back = client.delete_deployment(deployment.id)
    assert back["deploymentId"] != deployment.id, back
    until("it is gone", lambda: "/python/stuck" not in [app.id for app in client.list_apps()])
    client.create_app("/python/stuck", wants)
    deployment = until("it is deployed", lambda: [d for d in client.list_deployments() if "/python/stuck" in d.affected_apps])[0]
    assert client.delete_deployment(deployment.id, force=True) == {}
    until("no deployment is left", lambda: not client.list_deployments())
    assert client.get_app("/python/stuck").instances == 1, "what was forced to end leaves the app as it was asked for"
    client.delete_app("/python/stuck", force=True)


def groups(client):
    parts = [MarathonApp(id="a", cmd="exec sleep 1000", mem=16, cpus=0.01, instances=1)]
    made = client.create_group(MarathonGroup(id="/python/group", apps=parts))
    assert made["version"] and made["deploymentId"], made
    running(client, "/python/group/a", 1)
    group = client.get_group("/python/group")
    assert [app.id for app in group.apps] == ["/python/group/a"], group
    assert "/python" in [group.id for group in client.list_groups()]
    client.scale_group("/python/group", 2)
    running(client, "/python/group/a", 2)
    more = [*parts, MarathonApp(id="b", cmd="exec sleep 1000", mem=16, cpus=0.01, instances=0, dependencies=["a"])]
    client.update_group("/python/group", MarathonGroup(apps=more))
    until("it has two apps", lambda: len(client.get_group("/python/group").apps) == 2 and not client.list_deployments())
    # The client takes a way that Marathon does not have: to it, this is a group with a name that none may have.
    refused(422, lambda: client.rollback_group("/python/group", made["version"]))
    client.delete_group("/python/group")
    until("it is gone", lambda: "/python/group/a" not in [app.id for app in client.list_apps()])
    refused(404, lambda: client.get_group("/python/group"))


def gone(client):
    for app in ["/python/one", "/python/two"]:
        assert client.delete_app(app)["deploymentId"]
    until("nothing is left", lambda: not client.list_apps() and not client.list_deployments())
    refused(404, lambda: client.delete_app("/python/one"))
    assert "message" in client.delete_leader()
    until("there is a leader again", lambda: answers(client))


def answers(client):
    try:
        return client.get_leader()["leader"]
    except Exception:
        return None


def main():
    client = MarathonClient(sys.argv[1], timeout=LIMIT)
    listener = Listener(MarathonClient(sys.argv[1], timeout=LIMIT))
    listener.start()
    listener.attached.wait(LIMIT)
    for part in [about, lambda client: apps(client, listener), tasks, waiting, groups, gone]:
        part(client)
        print("ok", getattr(part, "__name__", "apps").replace("<lambda>", "apps"), flush=True)


if __name__ == "__main__":
    main()
