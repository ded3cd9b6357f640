"""``deploy/kubernetes.yaml``: the chart as Helm renders it with its default values, for those who use no Helm.

``python -m tests.pages.kubernetes`` writes it and needs Helm; ``tests/test_deploy.py`` compares the two.
"""

import re
from typing import Final

from tests.support.helm import CHART, helm
from tests.support.repository import ROOT

PAGE: Final = ROOT / "deploy/kubernetes.yaml"
OPTIONS: Final = ("--set", "autoscaling.enabled=true")
HEAD: Final = """\
# trigate on Kubernetes, with state in your PostgreSQL server and counters in your Redis or Valkey server. Build the
# image with --build-arg REQUIREMENTS=requirements-extras.txt. Replace the values of the Secret; better, let your
# secret manager create it. Then run:
#
#   kubectl apply -f deploy/kubernetes.yaml
#
# This file is the chart deploy/helm/trigate with default values and autoscaling. To change more, use the chart:
#
#   helm install trigate deploy/helm/trigate --set-file config=trigate.yaml --set secrets.existing=my-secret
"""


def page() -> str:
    """Return the manifests with their head, in the order in which Kubernetes needs them."""
    rendered = helm("template", "trigate", CHART, *OPTIONS)
    text = re.sub(r"^# Source: .*\n", "", rendered, flags=re.MULTILINE)
    return HEAD + re.sub(r"\n+---", "\n---", text)  # Helm 4 adds empty lines


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
