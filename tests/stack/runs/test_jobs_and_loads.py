"""Jobs in order and side by side, loads side by side, and how each of them may end."""

from __future__ import annotations

from local.wait import until
from tests.stack.runs.celonis import CelonisControls
from tests.stack.runs.service import DeployedService, is_sentence


def test_jobs_run_in_order_groups_in_parallel_and_then_all_loads_in_parallel(
    service: DeployedService, celonis: CelonisControls
) -> None:
    first, one, other, last = celonis.job(), celonis.job(seconds=600), celonis.job(seconds=60), celonis.job()
    models = [celonis.model(name, seconds=600) for name in ("VBAK", "LIKP", "KNA1")]
    loads = [
        {"data_model": models[0].id},
        {"data_model": models[1].id, "kind": "partial", "tables": ["LIKP"]},
        {"data_model": models[2].id, "kind": "from_cache"},
    ]
    jobs = [{"job": first, "mode": "DELTA"}, [one, {"job": other, "mode": "DELTA"}], last]
    name = service.execute({"pipeline": service.pipeline(jobs=jobs, loads=loads)})
    until(lambda: len(celonis.executions(one, other)) == 2, "two jobs side by side")
    celonis.finish(one)
    celonis.finish(other)
    until(lambda: len(celonis.loads(*models)) == 3, "three loads side by side")
    for model in models:
        celonis.finish_load(model)
    run = service.closed(name)

    assert run["status"] == "SUCCEEDED"
    ((a,), (b,), (c,), (d,)) = [celonis.executions(job) for job in (first, one, other, last)]
    assert [each["mode"] for each in (a, b, c, d)] == ["DELTA", "FULL", "DELTA", "FULL"]
    assert min(b["requested_at"], c["requested_at"]) >= a["ended_at"]
    assert d["requested_at"] >= max(b["ended_at"], c["ended_at"])
    loaded = celonis.loads(*models)
    assert all(each["requested_at"] >= d["ended_at"] for each in loaded)
    assert {each["model_id"]: (each["type"], each["tables"]) for each in loaded} == {
        models[0].id: ("COMPLETE", []),
        models[1].id: ("PARTIAL", models[1].ids("LIKP")),
        models[2].id: ("FROM_CACHE", []),
    }
    assert sorted(run["steps"]) == ["job-0", "job-1", "job-2", "job-3", "load-0", "load-1", "load-2"]


def test_loads_alone_and_jobs_alone_are_pipelines_too(
    service: DeployedService, celonis: CelonisControls
) -> None:
    job, model = celonis.job(), celonis.model("VBAK")
    names = [
        service.execute({"pipeline": service.pipeline(jobs=[job])}),
        service.execute({"pipeline": service.pipeline(loads=[model.id])}),
    ]
    webhook = service.webhook(service.source({"pipeline": service.pipeline(loads=[celonis.model().id])}))
    names.append(webhook.json()["runs"][0]["run_id"])
    assert [service.closed(name)["status"] for name in names] == ["SUCCEEDED"] * 3
    assert [len(celonis.executions(job)), len(celonis.loads(model))] == [1, 1]


def test_a_job_and_a_model_that_never_ran_before_run(
    service: DeployedService, celonis: CelonisControls
) -> None:
    job, model = celonis.job(ran_before=False), celonis.model("VBAK", loaded_before=False)
    run = service.run_by_hand({"pipeline": service.pipeline(jobs=[job], loads=[model.id])})
    assert run["status"] == "SUCCEEDED"
    assert [len(celonis.executions(job)), len(celonis.loads(model))] == [1, 1]


def test_a_failed_job_lets_its_siblings_end_starts_nothing_later_and_is_reported_with_its_reason(
    service: DeployedService, celonis: CelonisControls
) -> None:
    fails = celonis.job(outcome="FAIL", error_messages=["Column VBELN is missing in VBAK."])
    sibling, later, model = celonis.job(seconds=1.5), celonis.job(), celonis.model("VBAK")
    pipeline = service.pipeline(jobs=[[fails, sibling], later], loads=[model.id])
    name = service.execute({"pipeline": pipeline})
    described, run = service.ended(name), service.closed(name)

    assert (described["status"], described["error"]) == ("FAILED", "JobFailed")
    assert "Column VBELN is missing in VBAK" in described["cause"]
    assert fails in described["cause"]
    assert is_sentence(described["cause"])
    assert service.states(name)[-1] == "RunFailed"
    assert (run["status"], run["error"]) == ("FAILED", "JobFailed")
    reason = described["cause"].partition(fails)[2]
    assert f"({fails}){reason}" in run["outcome"]  # the record has the name of the job before its id
    outcomes = {step: state["outcome"] for step, state in run["steps"].items()}
    assert outcomes == {"job-0": "FAILED", "job-1": "SUCCEEDED"}
    assert celonis.executions(sibling)[0]["outcome"] == "SUCCESS"
    assert celonis.executions(later) == []
    assert celonis.loads(model) == []

    assert "Column VBELN is missing in VBAK" in service.notice_about(name)
    assert service.is_free(pipeline)


def test_every_bad_end_of_a_job_has_a_name_of_its_own(
    service: DeployedService, celonis: CelonisControls
) -> None:
    ends = {"FAIL": "JobFailed", "CANCEL": "JobCanceled", "SKIPPED": "JobSkipped"}
    names = {
        outcome: service.execute({"pipeline": service.pipeline(jobs=[celonis.job(outcome=outcome)])})
        for outcome in ends
    }
    for outcome, error in ends.items():
        described = service.ended(names[outcome])
        assert (described["status"], described["error"]) == ("FAILED", error)
        assert is_sentence(described["cause"])
        assert service.closed(names[outcome])["error"] == error
        assert error in service.notice_about(names[outcome])


def test_every_end_of_a_load_is_reported_as_it_was(
    service: DeployedService, celonis: CelonisControls
) -> None:
    text = "2 rows of VBAP were skipped."
    models = [
        celonis.model("VBAK", outcome="WARNING", message=text),
        celonis.model("VBAK", outcome="WARNING", message=text),
        celonis.model("VBAK", outcome="ERROR", message="The schema does not fit."),
        celonis.model("VBAK", outcome="CANCELED"),
    ]
    loads = [{"data_model": model.id} for model in models]
    loads[1]["on_warning"] = "fail"
    names = [service.execute({"pipeline": service.pipeline(loads=[load])}) for load in loads]
    ends = [(service.ended(name)["status"], service.ended(name).get("error")) for name in names]
    assert ends == [
        ("SUCCEEDED", None),
        ("FAILED", "LoadWarned"),
        ("FAILED", "LoadFailed"),
        ("FAILED", "LoadCanceled"),
    ]
    runs = [service.closed(name) for name in names]
    assert runs[0]["steps"]["load-0"]["message"] == text
    assert text in runs[1]["outcome"]
    assert "The schema does not fit." in runs[2]["outcome"]
    assert all(is_sentence(service.ended(name)["cause"]) for name in names[1:])
    assert [runs[number]["error"] in service.notice_about(names[number]) for number in (1, 2, 3)]
    assert "succeeded with a warning" in service.notice_about(names[0])
    assert text in service.notice_about(names[0])


def test_a_failed_load_lets_the_others_end(service: DeployedService, celonis: CelonisControls) -> None:
    models = [celonis.model("VBAK", outcome="ERROR"), celonis.model("VBAK", seconds=1.2)]
    run = service.run_by_hand({"pipeline": service.pipeline(loads=[model.id for model in models])})
    assert (run["status"], run["error"]) == ("FAILED", "LoadFailed")
    assert [run["steps"][f"load-{number}"]["outcome"] for number in range(2)] == ["FAILED", "SUCCEEDED"]
    assert celonis.loads(models[1])[0]["outcome"] == "SUCCESS"


def test_a_job_that_another_user_runs_is_waited_for(
    service: DeployedService, celonis: CelonisControls
) -> None:
    job = celonis.job(seconds=1.2)
    celonis.start(job)
    run = service.run_by_hand({"pipeline": service.pipeline(jobs=[job])})
    assert run["status"] == "SUCCEEDED"
    (ours,) = celonis.executions(job)
    assert run["steps"]["job-0"]["id"] == ours["id"]
    refused = [one for one in celonis.requests("execute", job) if one["effect"]["effect"] != "started"]
    assert refused == []


def test_a_start_with_a_lost_response_is_looked_up_and_not_sent_again(
    service: DeployedService, celonis: CelonisControls
) -> None:
    job, model = celonis.job(seconds=0.8), celonis.model("VBAK", seconds=0.8)
    celonis.fault("execute", "reset", when="after", target=job)
    celonis.fault("load", "status", when="after", status=502, target=model.id)
    run = service.run_by_hand({"pipeline": service.pipeline(jobs=[job], loads=[model.id])})
    assert run["status"] == "SUCCEEDED"
    assert [len(celonis.requests("execute", job)), len(celonis.requests("load", model.id))] == [1, 1]


def test_temporary_errors_of_celonis_do_not_end_a_run(
    service: DeployedService, celonis: CelonisControls
) -> None:
    job = celonis.job(seconds=0.8)
    celonis.fault("job", status=503, target=job, skip=1, count=2)
    celonis.fault("executions", "garbage", target=job)
    run = service.run_by_hand({"pipeline": service.pipeline(jobs=[job])})
    assert run["status"] == "SUCCEEDED"
    assert len(celonis.executions(job)) == 1


def test_what_a_run_took_is_learned_and_the_next_one_polls_around_its_end(
    service: DeployedService, celonis: CelonisControls
) -> None:
    lasts = 7.0
    job, model = celonis.job(seconds=lasts), celonis.model("VBAK", seconds=lasts)
    pipeline = service.pipeline(jobs=[job], loads=[model.id], poll={"floor": 1})
    first = service.run_by_hand({"pipeline": pipeline})
    learned = [
        service.item(f"durations#{kind}") for kind in (f"job#{job}#FULL", f"model#{model.id}#complete")
    ]
    second = service.run_by_hand({"pipeline": pipeline})
    assert [first["status"], second["status"]] == ["SUCCEEDED"] * 2
    for run in (first, second):
        polls = [run["steps"][step]["polls"] for step in ("job-0", "load-0")]
        assert len(service.states(run["run_id"])) <= 3 * sum(polls) + 12
    for item in learned:
        (seconds,) = [float(one["N"]) for one in item["successes"]["L"]]
        assert lasts - 0.5 <= seconds <= lasts + 1.5
        assert item["expires"]["N"]
    # Not the time itself: by luck, a poll of the first run may come right after the end.
    for step in ("job-0", "load-0"):
        assert first["steps"][step]["polls"] < second["steps"][step]["polls"]
    unknown, known = (service.waits(run["run_id"]) for run in (first, second))
    assert known[-1] < unknown[-1]
