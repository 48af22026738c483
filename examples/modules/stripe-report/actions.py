"""Reads a Stripe report as rows. The report is a CSV file on another host of Stripe's, which takes the same key."""

import csv
import io

from portcullis import requests
from portcullis.module import Call, ModuleError, log

ROWS_MAX = 5000


def report_rows(call: Call, data: dict) -> dict:
    run = report_run(data["report_run_id"])
    answer = requests.get(run["result"]["url"], credential="default")
    answer.raise_for_status()
    rows = []
    for row in csv.DictReader(io.StringIO(answer.text)):
        if len(rows) == ROWS_MAX:
            raise ModuleError("too_many_rows", f"the report has more than {ROWS_MAX} rows", error_class="validation")
        rows.append(row)
    log.info(f"{len(rows)} rows of {run['report_type']}")
    return {"report_type": run["report_type"], "count": len(rows), "rows": rows}


def report_run(run_id: str) -> dict:
    url = f"https://api.stripe.com/v1/reporting/report_runs/{requests.segment(run_id)}"
    answer = requests.get(url, credential="default")
    answer.raise_for_status()
    run = answer.json()
    if run["status"] == "pending":
        raise ModuleError("report_pending", "the report is not ready", retryable=True, error_class="transient")
    if run["status"] != "succeeded":
        raise ModuleError("report_failed", run.get("error") or "the report failed", error_class="permanent")
    return run


ACTIONS = {"report-rows": report_rows}
