"""The templates in docs/aws-options.md."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.support.documents import AWS_OPTIONS, blocks
from tools.deploy.templates import STACKS, body


def test_options_are_templates_that_cfn_lint_finds_clean_and_parts_of_no_stack(tmp_path: Path) -> None:
    fragments = blocks(AWS_OPTIONS, "yaml")
    assert len(fragments) == len(re.findall(r"^## ", AWS_OPTIONS.read_text(), re.MULTILINE))
    for index, fragment in enumerate(fragments):
        (tmp_path / f"{index}.yaml").write_text(fragment)
    command = [Path(sys.executable).parent / "cfn-lint", *tmp_path.glob("*.yaml")]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (process.returncode, process.stdout) == (0, "")
    stacks = "".join(map(body, STACKS))
    assert re.findall(r"AWS::DAX|AWS::EC2::VPN|AWS::EC2::CustomerGateway|AWS::KMS::Key|dax\.amazonaws", stacks) == []
