"""deployments/notify.yaml sends a message when a run fails, and when one completes it does not."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect_server import REPOSITORY

pytestmark = pytest.mark.slow

ZEROS = "00000000-0000-0000-0000-000000000000"


@pytest.fixture
def received():
    """A web hook on loopback: its address, and what has come."""
    messages: list[dict] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            messages.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Hook)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/", messages
    server.shutdown()
    server.server_close()


def test_a_run_that_fails_is_told(worked, received, recipe, tmp_path):
    address, messages = received
    with temporary_settings({PREFECT_API_URL: worked.environment["PREFECT_API_URL"]}):
        hook = CustomWebhookNotificationBlock(
            name="hook", url=address, json_data={"subject": "{{subject}}", "body": "{{body}}"}
        )
        block = hook.save("rosetta-hook")
    file = tmp_path / "notify.yaml"
    text = (REPOSITORY / "deployments/notify.yaml").read_text()
    assert text.count(ZEROS) == 1
    file.write_text(text.replace(ZEROS, str(block)))
    assert "Created automation 'rosetta-failed'" in worked.must("automation", "create", "--from-file", file)

    seen = len(worked.runs("faces", "mine"))
    worked.must("deployment", "run", "mine/faces", "--param", f"recipe={recipe}")
    assert worked.ended("faces", "mine", seen=seen)["state_name"] == "Completed"
    worked.must("deployment", "run", "mine/faces", "--param", f"recipe={tmp_path / 'none.toml'}")
    failed = worked.ended("faces", "mine", seen=seen + 1)
    deadline = time.monotonic() + 60
    while not messages and time.monotonic() < deadline:
        time.sleep(0.2)
    (message,) = messages
    assert message["subject"].endswith("rosetta: mine is Failed")
    assert failed["name"] in message["body"]
    assert "none.toml: No such file or directory" in message["body"]
