"""What the chart's alerts and dashboard ask, held against the /metrics of a fleet that its manifests describe (test_running.py)."""

import json
import re
import subprocess
import tempfile
import unittest

import expressions
from chart import ROOT, RUNNING, of_kind, render
from cluster import Cluster
from doors import secrets_of_the_user
from expressions import Scraped


class Watched(unittest.TestCase):
    """The fleet has just begun: what is missing there until it first happens cannot be seen to happen."""

    @classmethod
    def setUpClass(cls):
        # There are metrics of TLS where it is spoken.
        speaking = "connectNode.tls.existingSecret=tls,pushManager.tls.existingSecret=tls"
        documents = render(RUNNING, "--set", speaking)
        cls.cluster = Cluster(documents, secrets_of_the_user()[0])
        cls.addClassCleanup(cls.cluster.close)
        cls.cluster.install()
        cls.scraped = Scraped()
        for text, labels in cls.cluster.scraped():
            cls.scraped.add(text, labels)
        (rules,) = of_kind(documents, "PrometheusRule")
        (dashboard,) = of_kind(documents, "ConfigMap", "dashboard")
        cls.alerts = expressions.of_rules(rules["spec"]["groups"])
        cls.panels = list(expressions.of_dashboard(json.loads(dashboard["data"]["pushcast.json"])))

    def test_prometheus_reads_all_of_them(self):
        self.assertGreater(len(self.alerts), 10)
        self.assertGreater(len(self.panels), 30)
        rules = [{"record": f"rule:{at}", "expr": one} for at, one in enumerate(self.alerts + self.panels)]
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            json.dump({"groups": [{"name": "all", "rules": rules}]}, file)
            file.flush()
            checked = subprocess.run(["promtool", "check", "rules", file.name], capture_output=True, text=True, check=False)
        self.assertEqual(checked.returncode, 0, checked.stdout + checked.stderr)

    def test_they_ask_for_what_there_is(self):
        for expression in self.alerts + self.panels:
            with self.subTest(expression):
                self.assertTrue(expressions.selectors(expression))
                self.assertEqual(self.scraped.mistakes(expression), [])

    def test_the_readme_names_what_there_is(self):
        watch = (ROOT / "README.md").read_text().split("\n## Watch\n")[1].split("\n## ")[0]
        named = set(re.findall(r"\b(?:push_manager|connect_node|process)_[a-z_]+", watch))
        self.assertGreater(len(named), 25)
        self.assertEqual(named - set(self.scraped.series) - set(self.scraped.types), set())

    def test_histograms_are_whole(self):
        for metric in ("push_manager_request_seconds", "push_manager_ack_seconds"):
            self.assertEqual(self.scraped.types[metric], "histogram")
            for part in ("_bucket", "_sum", "_count"):
                self.assertIn(metric + part, self.scraped.series)

    def test_what_is_made_up_is_found_missing(self):
        for expression, says in (
            ("rate(push_manager_invented_total[5m]) > 0", "there is no such metric"),
            ('push_manager_links{state="lost"} > 0', "nothing has"),
            ('push_manager_links{stat="linked"} > 0', "it has no label stat"),
            ("sum by (room) (rate(connect_node_opened_total[5m]))", "it has no label room"),
            ("sum(rate(connect_node_opened_total[5m])) by (room)", "it has no label room"),
            ("connect_node_rooms / on (shard) connect_node_shard_connections", "connect_node_rooms: it has no label shard"),
            ("rate(connect_node_connections[5m])", "of a gauge"),
            ("deriv(connect_node_opened_total[5m])", "of a counter"),
            ("histogram_quantile(0.5, rate(push_manager_log_head_bucket[5m]))", "there is no such metric"),
        ):
            with self.subTest(expression):
                self.assertIn(says, "; ".join(self.scraped.mistakes(expression)))


if __name__ == "__main__":
    unittest.main()
