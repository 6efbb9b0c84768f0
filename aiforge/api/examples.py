"""Bodies as the documentation shows them; a test holds each against its type."""

from __future__ import annotations

from typing import Any

from aiforge.schemas.artifacts import VEGA_LITE

Example = dict[str, Any]

MOMENT = "2026-01-15T10:00:00.000Z"

HEALTH: Example = {
    "status": "healthy",
    "timestamp": MOMENT,
    "checks": {"database": True, "ollama": True, "gpu": True},
}

STATUS: Example = {
    "healthy": True,
    "version": "1.0.0",
    "uptime": 86400.0,
    "cpu": {"utilization": 45.0, "cores": 8},
    "memory": {"total": 16000000000, "used": 8000000000},
    "gpu": None,
    "gpus": [],
    "ollama": {"status": "running", "version": "0.1.0", "modelsLoaded": ["myproject:latest"]},
    "runningJobs": 1,
    "queuedJobs": 0,
}

SOURCE: Example = {
    "id": "src-1",
    "name": "my-repo",
    "type": "git",
    "status": "synced",
    "url": "https://github.com/owner/my-repo",
    "branch": "main",
    "includePatterns": ["*.py"],
    "excludePatterns": ["tests/"],
    "fileCount": 50,
    "skippedCount": 3,
    "totalBytes": 183200,
    "revision": "4f2d3a9c1b",
    "history": {
        "commit": "4f2d3a9c1b",
        "branch": "main",
        "previousCommit": "9c1b4f2d3a",
        "commitCount": 1,
        "commits": [{"id": "4f2d3a9c1b", "at": MOMENT, "subject": "Read headers once"}],
        "rewritten": False,
    },
    "createdAt": MOMENT,
    "lastSyncedAt": MOMENT,
    "syncSeconds": 900,
    "progress": 100.0,
    "error": None,
    "errorCode": None,
}

SOURCE_REQUEST: Example = {
    "type": "git",
    "url": "https://github.com/owner/my-repo",
    "branch": "main",
    "name": "my-repo",
    "includePatterns": ["*.py"],
    "excludePatterns": ["tests/"],
    "syncSeconds": 900,
}

SOURCE_UPDATE: Example = {"syncSeconds": 900}

UPLOAD_FORM: Example = {
    "files": ["def add(a, b):\n    return a + b\n"],
    "name": "my-files",
    "includePatterns": "*.py",
    "excludePatterns": "tests/, build/",
}

SOURCE_CREATED: Example = {"sourceId": "src-new", "parsingJobId": "parse-1"}

SYNC_STARTED: Example = {"jobId": "parse-2", "message": "Sync started"}

FILE: Example = {
    "path": "src/main.py",
    "size": 2048,
    "language": "python",
    "blob": "3b18e512dba79e4c8300dd08aeb37f8e728b8dad",
    "skipped": None,
}

DATASET: Example = {
    "id": "ds-1",
    "name": "test-dataset",
    "status": "ready",
    "exampleCount": 1500,
    "trainCount": 1350,
    "validationCount": 150,
    "chunkCount": 420,
    "format": "alpaca",
    "createdAt": MOMENT,
    "sourceIds": ["src-1"],
    "quality": 0.82,
    "progress": 100.0,
    "stage": None,
    "error": None,
    "errorCode": None,
}

DATASET_DETAIL: Example = DATASET | {
    "preview": [
        {
            "instruction": "Explain the function...",
            "input": "def calculate_sum(a, b)...",
            "output": "This function takes two parameters...",
        }
    ],
    "report": None,
}

GENERATE_REQUEST: Example = {
    "name": "my-dataset",
    "sourceIds": ["src-1", "src-2"],
    "format": "alpaca",
    "maxExamples": 1000,
}

GENERATED: Example = {"datasetId": "ds-new", "status": "generating"}

FINE_TUNE_REQUEST: Example = {
    "projectName": "myproject",
    "datasetId": "ds-1",
    "baseModel": "Llama-3.2-3B",
    "epochs": 3,
    "learningRate": 0.0001,
    "rank": 64,
    "batchSize": 4,
    "gradientAccumulation": 4,
    "warmupSteps": 100,
    "weightDecay": 0.01,
}

FINE_TUNED: Example = {
    "jobId": "job-new",
    "status": "queued",
    "message": "Training job queued successfully",
}

TRAINING_PLAN: Example = {
    "baseModel": "Llama-3.2-3B",
    "method": "pissa",
    "parameters": 3212574720,
    "trainedParameters": 97255424,
    "device": "cuda",
    "numWorkers": 1,
    "minWorkers": 1,
    "zeroStage": 0,
    "zeroStageReason": "ZeRO stage 0: one worker has nothing to divide",
    "rowsPerStep": 16,
    "maxSeqLength": 2048,
    "memory": {
        "process": 1258291200,
        "weights": 6425149440,
        "adapters": 389021696,
        "optimizer": 778043392,
        "gradients": 389021696,
        "activations": 31138512896,
        "logits": 2101346304,
        "publishing": 14886764544,
        "host": 928512000,
        "peak": 46727325286,
    },
    "availableBytes": 85899345920,
    "fits": True,
    "changes": {},
    "diskBytes": 4473749504,
    "freeDiskBytes": 512000000000,
    "resumesFrom": None,
    "data": {
        "examples": 1500,
        "sampled": 256,
        "droppedShare": 0.0,
        "truncatedShare": 0.02,
        "trainedShare": 0.31,
        "tokens": 1380000,
        "rows": 700,
        "steps": 132,
    },
    "time": {"deviceName": "NVIDIA H100 80GB HBM3", "secondsPerStep": 1.9, "seconds": 250.8},
}

JOB: Example = {
    "id": "job-1",
    "projectName": "myproject",
    "status": "running",
    "baseModel": "Llama-3.2-3B",
    "method": "pissa",
    "progress": 45.0,
    "metrics": {
        "loss": 1.234,
        "currentEpoch": 2,
        "totalEpochs": 3,
        "currentStep": 450,
        "totalSteps": 1000,
        "learningRate": 0.00008,
        "gradNorm": 0.9,
        "tokensPerSecond": 5200.0,
        "remainingSeconds": 310.0,
    },
    "config": {"epochs": 3, "learningRate": 0.0001, "rank": 64, "batchSize": 4},
    "createdAt": MOMENT,
    "startedAt": MOMENT,
    "finishedAt": None,
    "datasetId": "ds-1",
    "datasetName": "test-dataset",
    "stage": "training",
    "queuedReason": None,
    "error": None,
    "errorCode": None,
    "result": {},
}

METRICS: Example = {
    "steps": [1, 2, 3],
    "losses": [3.2, 2.8, 2.5],
    "learningRates": [0.0001, 0.0001, 0.0001],
    "gradNorms": [1.2, 1.1, 0.9],
    "tokensPerSecond": [5100.0, 5200.0, 5190.0],
    "evalLosses": [None, None, 2.41],
    "mfu": [0.48, 0.49, 0.49],
    "memoryBytes": [21474836480, 22548578304, 22548578304],
}

LOGS: Example = {
    "logs": ["[INFO] Starting training...", "[INFO] Epoch 1/3"],
    "lastUpdated": MOMENT,
}

CANCELLED: Example = {"message": "Job cancelled"}
EXPORT_CANCELLED: Example = {"message": "Export cancelled"}
BUILD_CANCELLED: Example = {"message": "Build cancelled"}

DELETED: Example = {"message": "Deleted"}

VALIDATION: Example = {
    "jobId": "job-1",
    "modelId": "model-1",
    "runAt": MOMENT,
    "metrics": {
        "codebleu": 0.78,
        "humaneval": 0.65,
        "exam": 0.4,
        "perplexity": 12.3,
        "latency": 45.0,
        "bitsPerByte": 0.71,
        "scoredTokens": 18400,
        "samples": {"bitsPerByte": 18400, "codebleu": 120, "humaneval": 164, "latency": 16},
        "intervals": {"humaneval": [0.58, 0.72]},
        "details": {"latency": {"engine": "transformers", "hardware": "8 cores"}},
        "notMeasured": {"exam": "The dataset has no exam."},
    },
    "baseline": {"perplexity": 31.7, "humaneval": 0.66},
    "active": None,
    "passed": True,
    "policy": "default",
    "championId": None,
    "gates": [
        {
            "metric": "humaneval",
            "status": "pass",
            "reason": "0.65 beside the champion's 0.66; 0.61 is the limit.",
            "required": False,
            "value": 0.65,
            "champion": 0.66,
            "samples": 164,
        }
    ],
    "artifactIds": ["art-1"],
    "runId": "run-1",
    "pendingRunId": None,
}

VALIDATION_REQUEST: Example = {"policy": "default"}

VALIDATION_STARTED: Example = {
    "jobId": "job-1",
    "runId": "run-1",
    "status": "queued",
    "message": "Validation queued",
}

ARTIFACT: Example = {
    "id": "art-1",
    "type": "chart",
    "name": "Performance Trend",
    "mimeType": "application/json",
    "size": 1024,
    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "ownerId": "mission-1",
    "resourceIds": ["mission-1", "job-1"],
    "createdAt": MOMENT,
}

CHART: Example = {
    "$schema": VEGA_LITE,
    "data": {"values": [{"version": 1, "perplexity": 12.3}, {"version": 2, "perplexity": 11.8}]},
    "mark": "line",
    "encoding": {
        "x": {"field": "version", "type": "ordinal"},
        "y": {"field": "perplexity", "type": "quantitative"},
    },
}

MODEL: Example = {
    "id": "model-1",
    "name": "myproject-v1",
    "projectName": "myproject",
    "version": 1,
    "baseModel": "Llama-3.2-3B",
    "method": "pissa",
    "status": "active",
    "createdAt": MOMENT,
    "metrics": {"codebleu": 0.78, "humaneval": 0.65, "perplexity": 12.3, "avgLatency": 45.0},
    "ollamaName": "myproject:latest",
    "engine": "ollama",
    "jobId": "job-1",
    "datasetId": "ds-1",
    "deployedAt": MOMENT,
    "activatedAt": MOMENT,
    "error": None,
    "errorCode": None,
}

MODEL_CHANGE: Example = {
    "sequence": 7,
    "at": MOMENT,
    "action": "activated",
    "modelId": "model-2",
    "previousModelId": "model-1",
    "actor": "local",
    "reason": "Knows the new parser.",
    "runId": "run-3",
    "detail": {},
}

DEPLOYED: Example = {
    "ollamaName": "myproject:v1",
    "message": "Deployed successfully",
    "status": "ready",
    "runId": "run-2",
}

ACTIVATED: Example = {
    "message": "Activated",
    "modelId": "model-2",
    "status": "active",
    "runId": "run-3",
}

ROLLED_BACK: Example = {
    "message": "Rolled back",
    "modelId": "model-1",
    "status": "active",
    "runId": "run-4",
}

LINEAGE: Example = {
    "model": MODEL,
    "job": {
        "id": "job-1",
        "status": "completed",
        "config": {"epochs": 3, "learningRate": 0.0001, "rank": 64, "batchSize": 4},
        "startedAt": MOMENT,
        "finishedAt": MOMENT,
        "finalLoss": 1.1,
    },
    "dataset": {
        "id": "ds-1",
        "name": "test-dataset",
        "exists": True,
        "exampleCount": 1500,
        "quality": 0.82,
    },
    "sources": [
        {
            "id": "src-1",
            "revision": "4f2d3a9c1b",
            "exists": True,
            "name": "my-repo",
            "url": "https://github.com/owner/my-repo",
            "branch": "main",
        }
    ],
}

CHAT_REQUEST: Example = {
    "model": "myproject",
    "messages": [{"role": "user", "content": "What does calculate_sum do?"}],
    "max_tokens": 200,
}

CHAT_COMPLETION: Example = {
    "id": "chatcmpl-5f2b1c",
    "object": "chat.completion",
    "created": 1768471200,
    "model": "myproject",
    "system_fingerprint": "model-1",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "It adds two numbers."},
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 21, "completion_tokens": 6, "total_tokens": 27},
}

CHAT_STREAM = (
    'data: {"id":"chatcmpl-5f2b1c","object":"chat.completion.chunk","created":1768471200,'
    '"model":"myproject","system_fingerprint":"model-1","choices":[{"index":0,'
    '"delta":{"content":"It adds"}}]}\n\ndata: [DONE]\n\n'
)

CHAT_MODELS: Example = {
    "object": "list",
    "data": [
        {
            "id": "myproject",
            "object": "model",
            "created": 1768471200,
            "owned_by": "aiforge",
            "root": "myproject-v1",
        }
    ],
}

EVENT_STREAM = (
    "id: 17\nevent: job.running\n"
    f'data: {{"sequence":17,"at":"{MOMENT}","type":"job.running","resourceId":"job-1",'
    '"data":{"kind":"train"}}\n\n: heartbeat\n\n'
)

KEY_REQUEST: Example = {
    "name": "ci of myproject",
    "scopes": ["jobs:read", "jobs:write", "datasets:*"],
    "projects": ["myproject"],
    "expiresAt": "2027-01-15T10:00:00.000Z",
}

API_KEY: Example = {
    "id": "key-01k8zj4m7q9v2x5c8b1n4d6f0h",
    "name": "ci of myproject",
    "scopes": ["datasets:*", "jobs:read", "jobs:write"],
    "projects": ["myproject"],
    "createdBy": "token:alice",
    "createdAt": MOMENT,
    "expiresAt": "2027-01-15T10:00:00.000Z",
    "revokedAt": None,
    "lastUsedAt": MOMENT,
}

KEY_CREATED: Example = API_KEY | {
    "lastUsedAt": None,
    "key": "aif_01k8zj4m7q9v2x5c8b1n4d6f0h.<43 characters, shown this once>",
}

AUDIT_ENTRY: Example = {
    "sequence": 17,
    "at": MOMENT,
    "principal": "key-01k8zj4m7q9v2x5c8b1n4d6f0h",
    "principalName": "ci of myproject",
    "action": "POST /v1/fine-tune",
    "operation": "jobs.create",
    "resourceIds": ["job-01k8zj6x2m4q8v1c5b9n3d7f0h"],
    "address": "10.0.0.7",
    "requestId": "req-01k8zj6x2kq9v2x5c8b1n4d6f0",
    "outcome": "done",
    "status": None,
}

EXPORT_REQUEST: Example = {"quantization": "q4_k_m", "deployToOllama": True}

EXPORT: Example = {
    "exportId": "export-1",
    "jobId": "job-1",
    "status": "completed",
    "format": "gguf",
    "quantization": "q4_k_m",
    "outputPath": "/models/myproject.gguf",
    "ollamaName": "myproject:latest",
    "size": 2019377696,
    "sha256": "5c1f3a0be7b9d2b1c0f3b8e6a4d2c7f19e8b6a5d4c3b2a190f8e7d6c5b4a3928",
    "files": [
        {
            "name": "model.gguf",
            "size": 2019377696,
            "sha256": "5c1f3a0be7b9d2b1c0f3b8e6a4d2c7f19e8b6a5d4c3b2a190f8e7d6c5b4a3928",
        }
    ],
    "stopTokens": ["<|eot_id|>"],
    "contextLength": 131072,
    "createdAt": MOMENT,
    "finishedAt": MOMENT,
    "progress": 100.0,
    "stage": "publishing",
    "queuedReason": None,
    "error": None,
    "errorCode": None,
}

EXPORT_DETAIL: Example = EXPORT | {
    "parity": {
        "checks": [
            {
                "name": "token ids",
                "measured": 0,
                "bound": 0,
                "unit": "of 116 texts differ",
                "passed": True,
                "detail": "",
            }
        ],
        "notes": [],
    }
}

WEBHOOK_REQUEST: Example = {
    "url": "https://ci.example.org/hooks/aiforge",
    "events": ["job.*", "model.active"],
    "description": "tells the team",
}

WEBHOOK: Example = WEBHOOK_REQUEST | {
    "id": "hook-01k8zj4m7q9v2x5c8b1n4d6f0h",
    "status": "active",
    "disabledReason": None,
    "createdBy": "token:alice",
    "createdAt": MOMENT,
}

WEBHOOK_CREATED: Example = WEBHOOK | {"secret": "whsec_<44 characters, shown this once>"}

ROTATED: Example = {
    "webhookId": "hook-01k8zj4m7q9v2x5c8b1n4d6f0h",
    "secret": "whsec_<44 characters, shown this once>",
    "previousValidUntil": MOMENT,
}

DELIVERY: Example = {
    "id": "msg-01k8zj6x2kq9v2x5c8b1n4d6f0",
    "webhookId": "hook-01k8zj4m7q9v2x5c8b1n4d6f0h",
    "eventType": "job.completed",
    "eventSequence": 17,
    "status": "delivered",
    "attempts": [{"at": MOMENT, "status": 204, "error": None, "milliseconds": 41.2}],
    "nextAttemptAt": None,
    "createdAt": MOMENT,
    "deliveredAt": MOMENT,
}
