"""Bodies of the mission routes as the documentation shows them."""

from __future__ import annotations

from aiforge.api.examples import MOMENT, Example

_BRIEF: Example = {
    "id": "mission-1",
    "title": "Recommend retrain for myproject",
    "description": "15 new commits changed 42 chunks (3.1%) since myproject-v1 was trained. Its "
    "perplexity there is 21.40, against 12.30 on held-out code.",
    "status": "pending_approval",
    "type": "retrain",
    "priority": "medium",
    "confidence": 85,
    "createdAt": MOMENT,
    "updatedAt": MOMENT,
    "projectName": "myproject",
    "watcher": "retrain",
    "version": 1,
}

MISSIONS: Example = {"missions": [_BRIEF], "total": 1, "pending": 1}

MISSION: Example = {
    **_BRIEF,
    "reasoning": {
        "trigger": "New commits detected",
        "analysis": "myproject-v1 needs +0.554 nats per token more on code that changed than on "
        "held-out code (95 % interval +0.310 to +0.798; 64 and 48 examples) over 42 new chunks "
        "in 7 files.",
        "expectedOutcome": "Perplexity on changed code falls from 21.40 to about 12.30, its "
        "perplexity on held-out code, by the gap that was measured.",
    },
    "recommendedAction": {
        "type": "start_training",
        "parameters": {"datasetId": "ds-1", "epochs": 2},
    },
    "evidence": {"perplexityChanged": 21.4, "perplexityHeldOut": 12.3, "changedChunks": 42},
    "artifacts": [
        {"id": "art-1", "type": "chart", "name": "Performance Trend", "url": "/artifacts/art-1"}
    ],
    "relatedJobIds": ["job-1"],
    "relatedModelIds": ["model-1"],
    "relatedDatasetIds": ["ds-1"],
    "decision": None,
    "execution": None,
    "outcome": None,
    "supersededBecause": None,
}

APPROVE_REQUEST: Example = {"comment": "Looks good, proceeding with retrain."}
APPROVED: Example = {"message": "Approved"}
REJECT_REQUEST: Example = {"reason": "Not enough new data to justify retraining."}
REJECTED: Example = {"message": "Rejected"}

MISSION_POLICY: Example = {
    "watchers": ["retrain", "deploy", "failed_jobs"],
    "minConfidence": 70,
    "growthAfterRejection": 0.25,
    "driftMargin": 0.05,
    "minChangedChunks": 5,
    "failures": 2,
    "latencyRatio": 1.5,
    "qualityDrop": 0.1,
    "diskFreeFraction": 0.1,
    "queueSeconds": 1800.0,
    "quietHours": {"start": "22:00:00", "end": "06:00:00"},
    "autoApproval": {"watchers": [], "minConfidence": 95, "dailyLimit": 1},
}

TRACK_RECORD: Example = {
    "projectName": "myproject",
    "proposed": 3,
    "approved": 2,
    "rejected": 1,
    "superseded": 0,
    "executed": 1,
    "failed": 0,
    "outcomes": [
        {
            "metric": "perplexity on changed code",
            "before": 21.4,
            "after": 13.9,
            "expected": 12.3,
            "met": True,
            "measuredAt": MOMENT,
        }
    ],
    "met": 1,
    "meanRelativeChange": -0.35,
}
