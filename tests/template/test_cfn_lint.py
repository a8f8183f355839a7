"""cfn-lint over the template as it is written, and over what CloudFormation gets, state machine included."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
from cfnlint.api import lint

from local.aws.errors import TemplateError
from tests.template import documents


def findings(text: str) -> list[str]:
    return [f"{match.rule.id}: {match.message}" for match in lint(text, regions=[documents.REGION])]


def deployed(definition: documents.Document) -> str:
    """The translated template with the definition inside: a reference would not be checked."""
    template = copy.deepcopy(documents.translated())
    properties = template["Resources"]["Refresh"]["Properties"]
    del properties["DefinitionS3Location"], properties["DefinitionSubstitutions"]
    properties["DefinitionString"] = json.dumps(documents.substituted(definition))
    return json.dumps(template)


def test_the_template_is_clean() -> None:
    assert findings(documents.template_text()) == []


def test_what_cloudformation_gets_is_clean() -> None:
    """The SAM translator has already resolved LayerRetention: a DeletionPolicy takes no reference."""
    used_up = "W2001: Parameter LayerRetention not used."
    assert findings(deployed(documents.machine())) == [used_up]


def test_it_checks_the_definition() -> None:
    definition = documents.machine()
    for field in ("Next", "Resource", "Catch"):
        definition["States"]["OpenRun"][f"{field}s"] = definition["States"]["OpenRun"].pop(field)
    found = " ".join(findings(deployed(definition)))
    assert all(f"'{field}s' was unexpected" in found for field in ("Next", "Resource", "Catch"))


def test_the_translator_refuses_a_misspelt_global(tmp_path: Path) -> None:
    """The template switches cfn-lint's own check of Globals off."""
    text = documents.template_text().replace("AutoPublishAliasAllProperties:", "AutoPublishAliasAllProperty:")
    with pytest.raises(TemplateError, match="AutoPublishAliasAllProperty"):
        documents.translated_from(text, tmp_path)
