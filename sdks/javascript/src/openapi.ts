// Generated from the OpenAPI document by `npm run types`; do not edit.

export interface paths {
    "/artifacts": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List Artifacts
         * @description List artifacts, newest first.
         */
        get: operations["listArtifacts"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/artifacts/{artifact_id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Get Artifact
         * @description Get what is known of an artifact.
         */
        get: operations["getArtifact"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/artifacts/{artifact_id}/content": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Get Artifact Content
         * @description Get the content of an artifact, or a part of it.
         */
        get: operations["getArtifactContent"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/audit": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List Audit
         * @description List who did what, when and from where, newest first.
         */
        get: operations["listAudit"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/data-sources": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List Data Sources
         * @description List data sources, newest first.
         */
        get: operations["listDataSources"];
        put?: never;
        /**
         * Create Data Source
         * @description Register a repository (JSON) or upload files (a form), and begin to read them.
         */
        post: operations["createDataSource"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/data-sources/{source_id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Get Data Source
         * @description Get a data source, with the progress of its sync.
         */
        get: operations["getDataSource"];
        put?: never;
        post?: never;
        /**
         * Delete Data Source
         * @description Delete a data source that nothing uses.
         */
        delete: operations["deleteDataSource"];
        options?: never;
        head?: never;
        /**
         * Update Data Source
         * @description Change how often a data source is read again by itself.
         */
        patch: operations["updateDataSource"];
        trace?: never;
    };
    "/data-sources/{source_id}/files": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List Data Source Files
         * @description List what was read of a data source, and what was skipped and why.
         */
        get: operations["listDataSourceFiles"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/data-sources/{source_id}/sync": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Sync Data Source
         * @description Read a data source again.
         */
        post: operations["syncDataSource"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/datasets": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List Datasets
         * @description List datasets, newest first.
         */
        get: operations["listDatasets"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/datasets/generate": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Generate Dataset
         * @description Build a dataset from sources by RAFT.
         */
        post: operations["generateDataset"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/datasets/{dataset_id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Get Dataset
         * @description Get a dataset with its first examples.
         */
        get: operations["getDataset"];
        put?: never;
        post?: never;
        /**
         * Delete Dataset
         * @description Delete a dataset that no job trains on.
         */
        delete: operations["deleteDataset"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/datasets/{dataset_id}/cancel": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Cancel Dataset
         * @description Cancel the build of a dataset; to do so twice is no error.
         */
        post: operations["cancelDataset"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/datasets/{dataset_id}/export": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Export Dataset
         * @description Get the examples of a dataset, one JSON object per line.
         */
        get: operations["exportDataset"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/events": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Stream Events
         * @description Stream all events of the platform as they happen; a comment is sent as heartbeat.
         */
        get: operations["streamEvents"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/health": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Get Health
         * @description Probe what the platform depends on; 503 where it cannot work.
         */
        get: operations["getHealth"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/jobs": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List Jobs
         * @description List training jobs, newest first.
         */
        get: operations["listJobs"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/jobs/{job_id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Get Job
         * @description Get a training job.
         */
        get: operations["getJob"];
        put?: never;
        post?: never;
        /**
         * Cancel Job
         * @description Cancel a job that waits or runs; to do so twice is no error.
         */
        delete: operations["cancelJob"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/jobs/{job_id}/events": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Stream Job Events
         * @description Stream a job's changes of state, metrics and log from its beginning until it has ended.
         *
         *     `job.updated` carries the whole job; it comes first, after every change, and last.
         */
        get: operations["streamJobEvents"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/jobs/{job_id}/export": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Export Job
         * @description Export what a job trained, and deploy it to Ollama; what is there is not made again.
         */
        post: operations["exportJob"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/jobs/{job_id}/exports": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List Exports
         * @description List the exports of a job, newest first.
         */
        get: operations["listExports"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/jobs/{job_id}/exports/{export_id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Get Export
         * @description Get an export, with what was compared of it once it has completed.
         */
        get: operations["getExport"];
        put?: never;
        post?: never;
        /**
         * Delete Export
         * @description Delete an export that no model is served from, and its files.
         */
        delete: operations["deleteExport"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/jobs/{job_id}/exports/{export_id}/cancel": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Cancel Export
         * @description Stop an export that waits or is being made; to do so twice is no error.
         */
        post: operations["cancelExport"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/jobs/{job_id}/exports/{export_id}/file": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Get Export File
         * @description Download what an export is about: its GGUF, or its weights.
         */
        get: operations["getExportFile"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/jobs/{job_id}/exports/{export_id}/files/{name}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Get Export File By Name
         * @description Download one of the files of an export.
         */
        get: operations["getExportFileByName"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/jobs/{job_id}/logs": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Get Job Logs
         * @description Get the last lines of a job's log.
         */
        get: operations["getJobLogs"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/jobs/{job_id}/metrics": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Get Job Metrics
         * @description Get the curves of a job, a value for each step.
         */
        get: operations["getJobMetrics"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/jobs/{job_id}/validation": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Get Job Validation
         * @description Get what was measured of the model that a job trained.
         */
        get: operations["getJobValidation"];
        put?: never;
        /**
         * Validate Job
         * @description Measure again what a job trained; a validation that is under way is the answer.
         */
        post: operations["validateJob"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/keys": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List Keys
         * @description List API keys, newest first, without their secrets.
         */
        get: operations["listKeys"];
        put?: never;
        /**
         * Create Key
         * @description Make an API key; this answer is the only one that shows it.
         */
        post: operations["createKey"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/keys/{key_id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /**
         * Revoke Key
         * @description Revoke an API key; to do so twice is no error.
         */
        delete: operations["revokeKey"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/missions": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List Missions
         * @description List missions, newest first.
         */
        get: operations["listMissions"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/missions/{mission_id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Get Mission
         * @description Get a mission with its evidence, its action and what came of it.
         */
        get: operations["getMission"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/missions/{mission_id}/approve": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Approve Mission
         * @description Approve a mission; its action is then carried out, once.
         */
        post: operations["approveMission"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/missions/{mission_id}/reject": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Reject Mission
         * @description Reject a mission; the same is proposed again only once its evidence has grown.
         */
        post: operations["rejectMission"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/models": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List Models
         * @description List models, newest first.
         */
        get: operations["listModels"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/models/active": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Get Active Model
         * @description Get the active model of a project; of all projects the one that was activated last.
         */
        get: operations["getActiveModel"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/models/{model_id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Get Model
         * @description Get a model.
         */
        get: operations["getModel"];
        put?: never;
        post?: never;
        /**
         * Delete Model
         * @description Delete a model that is not active; its history stays.
         */
        delete: operations["deleteModel"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/models/{model_id}/activate": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Activate Model
         * @description Make a model the active one of its project, once it was seen to answer.
         */
        post: operations["activateModel"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/models/{model_id}/deploy": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Deploy Model
         * @description Deploy a model to Ollama, verified through the server; exported first where need be.
         */
        post: operations["deployModel"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/models/{model_id}/history": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Get Model History
         * @description Get what was done to a model, by whom and why, oldest first; also of a deleted one.
         */
        get: operations["getModelHistory"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/models/{model_id}/lineage": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Get Model Lineage
         * @description Get the job, the dataset and the commits that a model comes from.
         */
        get: operations["getModelLineage"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/models/{model_id}/rollback": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Roll Back Model
         * @description Return from the active model to the version that was active before.
         */
        post: operations["rollBackModel"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/projects/{project_name}/mission-policy": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Get Mission Policy
         * @description Get what is watched in a project.
         */
        get: operations["getMissionPolicy"];
        /**
         * Put Mission Policy
         * @description Replace what is watched in a project; what is left out takes its default.
         */
        put: operations["putMissionPolicy"];
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/projects/{project_name}/track-record": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Get Track Record
         * @description Get how a project's missions fared.
         */
        get: operations["getTrackRecord"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/status": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Get Status
         * @description Tell version, resources and running jobs.
         */
        get: operations["getStatus"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/chat/completions": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Create Chat Completion
         * @description Have a project's active model answer; as server-sent events with `stream: true`.
         */
        post: operations["createChatCompletion"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/fine-tune": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Fine Tune
         * @description Queue a fine-tuning job, or only plan it.
         */
        post: operations["fineTune"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/v1/models": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List Chat Models
         * @description List the projects that have an active model to chat with.
         */
        get: operations["listChatModels"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/webhooks": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List Webhooks
         * @description List webhooks, newest first, without their secrets.
         */
        get: operations["listWebhooks"];
        put?: never;
        /**
         * Create Webhook
         * @description Have events sent to a URL; this answer is the only one that shows the secret.
         */
        post: operations["createWebhook"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/webhooks/{webhook_id}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Get Webhook
         * @description Get a webhook.
         */
        get: operations["getWebhook"];
        put?: never;
        post?: never;
        /**
         * Delete Webhook
         * @description Delete a webhook with its deliveries.
         */
        delete: operations["deleteWebhook"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/webhooks/{webhook_id}/deliveries": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * List Deliveries
         * @description List the deliveries of a webhook with their attempts, newest first.
         */
        get: operations["listDeliveries"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/webhooks/{webhook_id}/deliveries/{delivery_id}/replay": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Replay Delivery
         * @description Send a delivery again, under the same id.
         */
        post: operations["replayDelivery"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/webhooks/{webhook_id}/enable": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Enable Webhook
         * @description Send to a disabled webhook again, beginning with what happened meanwhile.
         */
        post: operations["enableWebhook"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/webhooks/{webhook_id}/rotate": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Rotate Webhook Secret
         * @description Make a new secret and show it; for a day deliveries bear the old signature, too.
         */
        post: operations["rotateWebhookSecret"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/webhooks/{webhook_id}/test": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Test Webhook
         * @description Send `webhook.ping`; the list of deliveries tells what came of it.
         */
        post: operations["testWebhook"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
}
export type webhooks = Record<string, never>;
export interface components {
    schemas: {
        /**
         * AnswerMessage
         * @description What the model answered.
         */
        AnswerMessage: {
            /** Content */
            content: string;
            /**
             * Role
             * @default assistant
             * @constant
             */
            role?: "assistant";
        };
        /**
         * ApiKey
         * @description A key, without its secret; ``last_used_at`` is exact to a minute.
         */
        ApiKey: {
            /** Createdat */
            createdAt: string;
            /** Createdby */
            createdBy: string;
            /** Expiresat */
            expiresAt?: string | null;
            /** Id */
            id: string;
            /** Lastusedat */
            lastUsedAt?: string | null;
            /** Name */
            name: string;
            /** Projects */
            projects?: string[] | null;
            /** Revokedat */
            revokedAt?: string | null;
            /** Scopes */
            scopes: string[];
        };
        /**
         * ApproveRequest
         * @description ``POST /missions/:id/approve``.
         */
        ApproveRequest: {
            /** Comment */
            comment?: string | null;
            /** Version */
            version?: number | null;
        };
        /**
         * Artifact
         * @description What is known of an artifact beside its content.
         *
         *     ``owner_id`` is the run or mission that made it; ``resource_ids`` what it is about, its owner
         *     among them. ``size`` is in bytes.
         */
        Artifact: {
            /** Createdat */
            createdAt: string;
            /** Id */
            id: string;
            /** Mimetype */
            mimeType: string;
            /** Name */
            name: string;
            /** Ownerid */
            ownerId: string;
            /** Resourceids */
            resourceIds: string[];
            /** Sha256 */
            sha256: string;
            /** Size */
            size: number;
            /**
             * Type
             * @enum {string}
             */
            type: "chart" | "report" | "log" | "file";
        };
        /**
         * ArtifactLink
         * @description An artifact of a mission; ``url`` is its route.
         */
        ArtifactLink: {
            /** Id */
            id: string;
            /** Name */
            name: string;
            /**
             * Type
             * @enum {string}
             */
            type: "chart" | "report" | "log" | "file";
            /** Url */
            url: string;
        };
        /**
         * Attempt
         * @description One attempt to deliver: the receiver's status, or why there was none.
         */
        Attempt: {
            /** At */
            at: string;
            /** Error */
            error?: string | null;
            /** Milliseconds */
            milliseconds: number;
            /** Status */
            status?: number | null;
        };
        /**
         * AuditEntry
         * @description Who did what, when, from where, and what became of it.
         */
        AuditEntry: {
            /** Action */
            action: string;
            /** Address */
            address?: string | null;
            /** At */
            at: string;
            /** Operation */
            operation?: string | null;
            outcome: components["schemas"]["AuditOutcome"];
            /** Principal */
            principal: string;
            /** Principalname */
            principalName: string;
            /** Requestid */
            requestId: string;
            /** Resourceids */
            resourceIds?: string[];
            /** Sequence */
            sequence: number;
            /** Status */
            status?: number | null;
        };
        /**
         * AuditOutcome
         * @description What became of what was asked for.
         * @enum {string}
         */
        AuditOutcome: "done" | "refused" | "failed";
        /**
         * AutoApproval
         * @description What may be approved without a person; nothing by default.
         */
        AutoApproval: {
            /**
             * Dailylimit
             * @default 1
             */
            dailyLimit?: number;
            /**
             * Minconfidence
             * @default 95
             */
            minConfidence?: number;
            /** Watchers */
            watchers?: ("retrain" | "deploy" | "failed_jobs" | "missing_model" | "slow_model" | "dataset_quality" | "full_disk" | "stalled_queue")[];
        };
        /**
         * ChatCompletion
         * @description An answer; ``system_fingerprint`` is the id of the version that gave it.
         *
         *     ``usage`` is ``null`` where the engine did not count.
         */
        ChatCompletion: {
            /** Choices */
            choices: components["schemas"]["Choice"][];
            /** Created */
            created: number;
            /** Id */
            id: string;
            /** Model */
            model: string;
            /**
             * Object
             * @default chat.completion
             * @constant
             */
            object?: "chat.completion";
            /** System Fingerprint */
            system_fingerprint: string;
            usage?: components["schemas"]["Usage"] | null;
        };
        /**
         * ChatMessage
         * @description One turn of a conversation; ``developer`` means ``system``.
         */
        ChatMessage: {
            /** Content */
            content: string | components["schemas"]["TextPart"][];
            /** Name */
            name?: string | null;
            /**
             * Role
             * @enum {string}
             */
            role: "system" | "developer" | "user" | "assistant";
        };
        /**
         * ChatModel
         * @description A model that can be chatted with; ``root`` is the version that answers.
         */
        ChatModel: {
            /** Created */
            created: number;
            /** Id */
            id: string;
            /**
             * Object
             * @default model
             * @constant
             */
            object?: "model";
            /** Owned By */
            owned_by: string;
            /** Root */
            root: string;
        };
        /**
         * ChatModels
         * @description ``GET /v1/models``.
         */
        ChatModels: {
            /** Data */
            data: components["schemas"]["ChatModel"][];
            /**
             * Object
             * @default list
             * @constant
             */
            object?: "list";
        };
        /**
         * ChatRequest
         * @description ``POST /v1/chat/completions``.
         *
         *     ``model`` is a project's name, whose active version answers, or one version by its id, its
         *     name, or what Ollama calls it.
         */
        ChatRequest: {
            /**
             * Frequency Penalty
             * @default 0
             * @constant
             */
            frequency_penalty?: 0;
            /** Max Completion Tokens */
            max_completion_tokens?: number | null;
            /** Max Tokens */
            max_tokens?: number | null;
            /** Messages */
            messages: components["schemas"]["ChatMessage"][];
            /** Model */
            model: string;
            /**
             * N
             * @default 1
             * @constant
             */
            n?: 1;
            /**
             * Presence Penalty
             * @default 0
             * @constant
             */
            presence_penalty?: 0;
            /** Seed */
            seed?: number | null;
            /** Stop */
            stop?: string | string[] | null;
            /**
             * Stream
             * @default false
             */
            stream?: boolean;
            stream_options?: components["schemas"]["StreamOptions"] | null;
            /**
             * Temperature
             * @default 0.7
             */
            temperature?: number;
            /**
             * Top P
             * @default 1
             */
            top_p?: number;
            /** User */
            user?: string | null;
        };
        /**
         * Choice
         * @description The one answer.
         */
        Choice: {
            /**
             * Finish Reason
             * @enum {string}
             */
            finish_reason: "stop" | "length";
            /**
             * Index
             * @default 0
             */
            index?: number;
            message: components["schemas"]["AnswerMessage"];
        };
        /**
         * Cpu
         * @description Utilization in percent.
         */
        Cpu: {
            /** Cores */
            cores: number;
            /** Utilization */
            utilization: number;
        };
        /**
         * CreatedKey
         * @description A fresh key; ``key`` is shown this once and cannot be found out again.
         */
        CreatedKey: {
            /** Createdat */
            createdAt: string;
            /** Createdby */
            createdBy: string;
            /** Expiresat */
            expiresAt?: string | null;
            /** Id */
            id: string;
            /** Key */
            key: string;
            /** Lastusedat */
            lastUsedAt?: string | null;
            /** Name */
            name: string;
            /** Projects */
            projects?: string[] | null;
            /** Revokedat */
            revokedAt?: string | null;
            /** Scopes */
            scopes: string[];
        };
        /**
         * CreatedWebhook
         * @description A fresh subscription; ``secret`` verifies its deliveries and is shown this once.
         */
        CreatedWebhook: {
            /** Createdat */
            createdAt: string;
            /** Createdby */
            createdBy: string;
            /** Description */
            description?: string | null;
            /** Disabledreason */
            disabledReason?: string | null;
            /** Events */
            events: string[];
            /** Id */
            id: string;
            /** Secret */
            secret: string;
            status: components["schemas"]["WebhookStatus"];
            /** Url */
            url: string;
        };
        /**
         * DataPlan
         * @description What a sample of the dataset tells of the whole; ``sampled`` of ``examples`` were read.
         */
        DataPlan: {
            /** Droppedshare */
            droppedShare: number;
            /** Examples */
            examples: number;
            /** Rows */
            rows: number;
            /** Sampled */
            sampled: number;
            /** Steps */
            steps: number;
            /** Tokens */
            tokens: number;
            /** Trainedshare */
            trainedShare: number;
            /** Truncatedshare */
            truncatedShare: number;
        };
        /**
         * Dataset
         * @description One dataset; ``example_count`` grows while it is built, ``quality`` is known at its end.
         */
        Dataset: {
            /**
             * Chunkcount
             * @default 0
             */
            chunkCount?: number;
            /** Createdat */
            createdAt: string;
            /** Error */
            error?: string | null;
            /** Errorcode */
            errorCode?: string | null;
            /**
             * Examplecount
             * @default 0
             */
            exampleCount?: number;
            /**
             * Format
             * @enum {string}
             */
            format: "alpaca" | "chat" | "sharegpt" | "completion";
            /** Id */
            id: string;
            /** Name */
            name: string;
            /**
             * Progress
             * @default 0
             */
            progress?: number;
            /** Quality */
            quality?: number | null;
            /** Sourceids */
            sourceIds: string[];
            /** Stage */
            stage?: string | null;
            status: components["schemas"]["DatasetStatus"];
            /**
             * Traincount
             * @default 0
             */
            trainCount?: number;
            /**
             * Validationcount
             * @default 0
             */
            validationCount?: number;
        };
        /**
         * DatasetDetail
         * @description A dataset with its first examples and its yield report.
         */
        DatasetDetail: {
            /**
             * Chunkcount
             * @default 0
             */
            chunkCount?: number;
            /** Createdat */
            createdAt: string;
            /** Error */
            error?: string | null;
            /** Errorcode */
            errorCode?: string | null;
            /**
             * Examplecount
             * @default 0
             */
            exampleCount?: number;
            /**
             * Format
             * @enum {string}
             */
            format: "alpaca" | "chat" | "sharegpt" | "completion";
            /** Id */
            id: string;
            /** Name */
            name: string;
            /** Preview */
            preview?: {
                [key: string]: unknown;
            }[];
            /**
             * Progress
             * @default 0
             */
            progress?: number;
            /** Quality */
            quality?: number | null;
            report?: components["schemas"]["YieldReport"] | null;
            /** Sourceids */
            sourceIds: string[];
            /** Stage */
            stage?: string | null;
            status: components["schemas"]["DatasetStatus"];
            /**
             * Traincount
             * @default 0
             */
            trainCount?: number;
            /**
             * Validationcount
             * @default 0
             */
            validationCount?: number;
        };
        /**
         * DatasetStatus
         * @description Where a dataset is in its life.
         * @enum {string}
         */
        DatasetStatus: "generating" | "ready" | "failed";
        /**
         * Decision
         * @description Who decided, when, and their comment or reason.
         */
        Decision: {
            /** At */
            at: string;
            /**
             * Automatic
             * @default false
             */
            automatic?: boolean;
            /** By */
            by: string;
            /** Comment */
            comment?: string | null;
        };
        /**
         * Delivery
         * @description One event on its way to one receiver; ``id`` is the ``webhook-id`` of every attempt.
         */
        Delivery: {
            /** Attempts */
            attempts?: components["schemas"]["Attempt"][];
            /** Createdat */
            createdAt: string;
            /** Deliveredat */
            deliveredAt?: string | null;
            /** Eventsequence */
            eventSequence?: number | null;
            /** Eventtype */
            eventType: string;
            /** Id */
            id: string;
            /** Nextattemptat */
            nextAttemptAt?: string | null;
            status: components["schemas"]["DeliveryStatus"];
            /** Webhookid */
            webhookId: string;
        };
        /**
         * DeliveryStatus
         * @description Where a delivery is in its life.
         * @enum {string}
         */
        DeliveryStatus: "pending" | "delivered" | "failed";
        /**
         * DeployResponse
         * @description ``POST /models/:id/deploy``; ``status`` is ``deploying`` where it is not done yet.
         */
        DeployResponse: {
            /** Message */
            message: string;
            /** Ollamaname */
            ollamaName: string;
            /** Runid */
            runId: string;
            status: components["schemas"]["ModelStatus"];
        };
        /**
         * ErrorBody
         * @description The one body of every error.
         */
        ErrorBody: {
            /** Detail */
            detail: {
                [key: string]: unknown;
            };
            /** Message */
            message: string;
            /** Status */
            status: number;
        };
        /**
         * Execution
         * @description What became of an approved mission's action; ``null`` ids where nothing was made yet.
         */
        Execution: {
            /** Datasetid */
            datasetId?: string | null;
            /** Error */
            error?: string | null;
            /** Errorcode */
            errorCode?: string | null;
            /** Finishedat */
            finishedAt?: string | null;
            /** Jobid */
            jobId?: string | null;
            /** Modelid */
            modelId?: string | null;
            /** Runid */
            runId?: string | null;
            /** Startedat */
            startedAt?: string | null;
            status: components["schemas"]["ExecutionStatus"];
            /** Step */
            step?: string | null;
        };
        /**
         * ExecutionStatus
         * @description How far the action of an approved mission is.
         * @enum {string}
         */
        ExecutionStatus: "pending" | "running" | "completed" | "failed";
        /**
         * Export
         * @description One export of a job's model; ``outputPath`` names a file that was loaded and compared.
         */
        Export: {
            /** Contextlength */
            contextLength?: number | null;
            /** Createdat */
            createdAt: string;
            /** Error */
            error?: string | null;
            /** Errorcode */
            errorCode?: string | null;
            /** Exportid */
            exportId: string;
            /** Files */
            files?: components["schemas"]["ExportFile"][];
            /** Finishedat */
            finishedAt?: string | null;
            /**
             * Format
             * @enum {string}
             */
            format: "gguf" | "safetensors" | "peft";
            /** Jobid */
            jobId: string;
            /** Ollamaname */
            ollamaName?: string | null;
            /** Outputpath */
            outputPath?: string | null;
            /**
             * Progress
             * @default 0
             */
            progress?: number;
            /** Quantization */
            quantization?: ("f32" | "f16" | "bf16" | "q8_0" | "q6_k" | "q5_k_m" | "q4_k_m" | "q4_k_s" | "q3_k_m" | "q2_k") | null;
            /** Queuedreason */
            queuedReason?: string | null;
            /** Sha256 */
            sha256?: string | null;
            /** Size */
            size?: number | null;
            /** Stage */
            stage?: string | null;
            status: components["schemas"]["ExportStatus"];
            /** Stoptokens */
            stopTokens?: string[];
        };
        /**
         * ExportDetail
         * @description An export with what was compared before it was called completed.
         */
        ExportDetail: {
            /** Contextlength */
            contextLength?: number | null;
            /** Createdat */
            createdAt: string;
            /** Error */
            error?: string | null;
            /** Errorcode */
            errorCode?: string | null;
            /** Exportid */
            exportId: string;
            /** Files */
            files?: components["schemas"]["ExportFile"][];
            /** Finishedat */
            finishedAt?: string | null;
            /**
             * Format
             * @enum {string}
             */
            format: "gguf" | "safetensors" | "peft";
            /** Jobid */
            jobId: string;
            /** Ollamaname */
            ollamaName?: string | null;
            /** Outputpath */
            outputPath?: string | null;
            /** Parity */
            parity?: {
                [key: string]: unknown;
            } | null;
            /**
             * Progress
             * @default 0
             */
            progress?: number;
            /** Quantization */
            quantization?: ("f32" | "f16" | "bf16" | "q8_0" | "q6_k" | "q5_k_m" | "q4_k_m" | "q4_k_s" | "q3_k_m" | "q2_k") | null;
            /** Queuedreason */
            queuedReason?: string | null;
            /** Sha256 */
            sha256?: string | null;
            /** Size */
            size?: number | null;
            /** Stage */
            stage?: string | null;
            status: components["schemas"]["ExportStatus"];
            /** Stoptokens */
            stopTokens?: string[];
        };
        /**
         * ExportFile
         * @description One file of an export; ``size`` is in bytes.
         */
        ExportFile: {
            /** Name */
            name: string;
            /** Sha256 */
            sha256: string;
            /** Size */
            size: number;
        };
        /**
         * ExportRequest
         * @description ``POST /jobs/{id}/export``: what to make of a job's model.
         *
         *     ``quantization`` is ``q4_k_m`` by default for ``gguf`` and ``f16`` for ``safetensors``, which
         *     takes ``f32``, ``f16`` and ``bf16`` alone. An adapter (``peft``) stays as it was trained.
         */
        ExportRequest: {
            /**
             * Deploytoollama
             * @default false
             */
            deployToOllama?: boolean;
            /**
             * Format
             * @default gguf
             * @enum {string}
             */
            format?: "gguf" | "safetensors" | "peft";
            /** Quantization */
            quantization?: ("f32" | "f16" | "bf16" | "q8_0" | "q6_k" | "q5_k_m" | "q4_k_m" | "q4_k_s" | "q3_k_m" | "q2_k") | null;
        };
        /**
         * ExportStatus
         * @description Where an export is in its life.
         * @enum {string}
         */
        ExportStatus: "running" | "completed" | "failed";
        /**
         * FineTuneRequest
         * @description ``POST /v1/fine-tune``: what to train, on what, and how.
         */
        FineTuneRequest: {
            /**
             * Activationcheckpointing
             * @default false
             */
            activationCheckpointing?: boolean;
            /** Basemodel */
            baseModel: string;
            /**
             * Batchsize
             * @default 4
             */
            batchSize?: number;
            /** Datasetid */
            datasetId: string;
            /** Earlystopping */
            earlyStopping?: number | null;
            /**
             * Epochs
             * @default 3
             */
            epochs?: number;
            /** Evalevery */
            evalEvery?: number | null;
            /**
             * Gradientaccumulation
             * @default 4
             */
            gradientAccumulation?: number;
            /**
             * Learningrate
             * @default 0.0001
             */
            learningRate?: number;
            /** Maxseqlength */
            maxSeqLength?: number | null;
            /**
             * Method
             * @default pissa
             * @enum {string}
             */
            method?: "pissa" | "lora" | "full";
            /** Minworkers */
            minWorkers?: number | null;
            /**
             * Numworkers
             * @default 1
             */
            numWorkers?: number;
            /**
             * Offload
             * @default false
             */
            offload?: boolean;
            /** Projectname */
            projectName: string;
            /**
             * Quantizebase
             * @default false
             */
            quantizeBase?: boolean;
            /**
             * Rank
             * @default 64
             */
            rank?: number;
            /** Resumefrom */
            resumeFrom?: string | null;
            /**
             * Schedule
             * @default cosine
             * @enum {string}
             */
            schedule?: "cosine" | "linear" | "constant";
            /**
             * Seed
             * @default 0
             */
            seed?: number;
            /** Targetmodules */
            targetModules?: string[] | null;
            /**
             * Warmupsteps
             * @default 0
             */
            warmupSteps?: number;
            /**
             * Weightdecay
             * @default 0
             */
            weightDecay?: number;
            /** Zerostage */
            zeroStage?: number | null;
        };
        /**
         * FineTuneResponse
         * @description The job that was queued.
         */
        FineTuneResponse: {
            /** Jobid */
            jobId: string;
            /** Message */
            message: string;
            status: components["schemas"]["RunStatus"];
        };
        /**
         * GateStatus
         * @description What a gate says of one metric.
         * @enum {string}
         */
        GateStatus: "pass" | "fail" | "not_evaluated";
        /**
         * GateVerdict
         * @description What the gate says of one metric, and why, for a person.
         */
        GateVerdict: {
            /** Champion */
            champion?: number | null;
            /** Metric */
            metric: string;
            /** Reason */
            reason: string;
            /**
             * Required
             * @default false
             */
            required?: boolean;
            /** Samples */
            samples?: number | null;
            status: components["schemas"]["GateStatus"];
            /** Value */
            value?: number | null;
        };
        /**
         * GenerateRequest
         * @description ``POST /datasets/generate``.
         */
        GenerateRequest: {
            /**
             * Basemodel
             * @default forge-tiny
             */
            baseModel?: string;
            /**
             * Format
             * @default alpaca
             * @enum {string}
             */
            format?: "alpaca" | "chat" | "sharegpt" | "completion";
            /**
             * Maxexamples
             * @default 1000
             */
            maxExamples?: number;
            /** Name */
            name: string;
            raft?: components["schemas"]["RaftConfig"];
            /** Sourceids */
            sourceIds: string[];
            teacher?: components["schemas"]["TeacherConfig"] | null;
        };
        /**
         * GenerateResponse
         * @description The dataset that is being built.
         */
        GenerateResponse: {
            /** Datasetid */
            datasetId: string;
            status: components["schemas"]["DatasetStatus"];
        };
        /**
         * GitSourceRequest
         * @description ``POST /data-sources`` with a JSON body: a repository or a directory to read.
         */
        GitSourceRequest: {
            /**
             * Branch
             * @default null
             */
            branch?: string | null;
            /** Excludepatterns */
            excludePatterns?: string[];
            /** Includepatterns */
            includePatterns?: string[];
            /**
             * Name
             * @default null
             */
            name?: string | null;
            /**
             * Syncseconds
             * @default null
             */
            syncSeconds?: number | null;
            /**
             * Type
             * @default git
             * @enum {string}
             */
            type?: "git" | "local";
            /** Url */
            url: string;
        };
        /**
         * Gpu
         * @description One device; memory in bytes, utilization in percent, temperature in degrees Celsius.
         */
        Gpu: {
            /** Memorytotal */
            memoryTotal?: number | null;
            /** Memoryused */
            memoryUsed?: number | null;
            /** Name */
            name: string;
            /** Temperature */
            temperature?: number | null;
            /** Utilization */
            utilization?: number | null;
        };
        /**
         * Health
         * @description ``GET /health``.
         */
        Health: {
            checks: components["schemas"]["HealthChecks"];
            /**
             * Status
             * @enum {string}
             */
            status: "healthy" | "degraded" | "unhealthy";
            /** Timestamp */
            timestamp: string;
        };
        /**
         * HealthChecks
         * @description Each a real probe with a time limit.
         */
        HealthChecks: {
            /** Database */
            database: boolean;
            /** Gpu */
            gpu: boolean;
            /** Ollama */
            ollama: boolean;
        };
        /**
         * Job
         * @description One training job.
         */
        Job: {
            /** Basemodel */
            baseModel: string;
            config: components["schemas"]["JobConfig"];
            /** Createdat */
            createdAt: string;
            /** Datasetid */
            datasetId: string;
            /** Datasetname */
            datasetName: string;
            /** Error */
            error?: string | null;
            /** Errorcode */
            errorCode?: string | null;
            /** Finishedat */
            finishedAt?: string | null;
            /** Id */
            id: string;
            /**
             * Method
             * @enum {string}
             */
            method: "pissa" | "lora" | "full";
            metrics: components["schemas"]["JobMetrics"];
            /** Progress */
            progress: number;
            /** Projectname */
            projectName: string;
            /** Queuedreason */
            queuedReason?: string | null;
            /** Result */
            result?: {
                [key: string]: unknown;
            };
            /** Stage */
            stage?: string | null;
            /** Startedat */
            startedAt?: string | null;
            status: components["schemas"]["RunStatus"];
        };
        /**
         * JobConfig
         * @description The hyperparameters of a fine-tuning job, defaults filled in.
         */
        JobConfig: {
            /**
             * Activationcheckpointing
             * @default false
             */
            activationCheckpointing?: boolean;
            /**
             * Batchsize
             * @default 4
             */
            batchSize?: number;
            /** Earlystopping */
            earlyStopping?: number | null;
            /**
             * Epochs
             * @default 3
             */
            epochs?: number;
            /** Evalevery */
            evalEvery?: number | null;
            /**
             * Gradientaccumulation
             * @default 4
             */
            gradientAccumulation?: number;
            /**
             * Learningrate
             * @default 0.0001
             */
            learningRate?: number;
            /** Maxseqlength */
            maxSeqLength?: number | null;
            /**
             * Method
             * @default pissa
             * @enum {string}
             */
            method?: "pissa" | "lora" | "full";
            /** Minworkers */
            minWorkers?: number | null;
            /**
             * Numworkers
             * @default 1
             */
            numWorkers?: number;
            /**
             * Offload
             * @default false
             */
            offload?: boolean;
            /**
             * Quantizebase
             * @default false
             */
            quantizeBase?: boolean;
            /**
             * Rank
             * @default 64
             */
            rank?: number;
            /** Resumefrom */
            resumeFrom?: string | null;
            /**
             * Schedule
             * @default cosine
             * @enum {string}
             */
            schedule?: "cosine" | "linear" | "constant";
            /**
             * Seed
             * @default 0
             */
            seed?: number;
            /** Targetmodules */
            targetModules?: string[] | null;
            /**
             * Warmupsteps
             * @default 0
             */
            warmupSteps?: number;
            /**
             * Weightdecay
             * @default 0
             */
            weightDecay?: number;
            /** Zerostage */
            zeroStage?: number | null;
        };
        /**
         * JobLogs
         * @description The last lines of a job's log.
         */
        JobLogs: {
            /** Lastupdated */
            lastUpdated?: string | null;
            /** Logs */
            logs: string[];
        };
        /**
         * JobMetrics
         * @description The newest figures of a job; ``null`` until measured.
         */
        JobMetrics: {
            /**
             * Currentepoch
             * @default 0
             */
            currentEpoch?: number;
            /**
             * Currentstep
             * @default 0
             */
            currentStep?: number;
            /** Evalloss */
            evalLoss?: number | null;
            /** Gradnorm */
            gradNorm?: number | null;
            /** Learningrate */
            learningRate?: number | null;
            /** Loss */
            loss?: number | null;
            /** Memorybytes */
            memoryBytes?: number | null;
            /** Mfu */
            mfu?: number | null;
            /** Remainingseconds */
            remainingSeconds?: number | null;
            /** Tokenspersecond */
            tokensPerSecond?: number | null;
            /**
             * Totalepochs
             * @default 0
             */
            totalEpochs?: number;
            /**
             * Totalsteps
             * @default 0
             */
            totalSteps?: number;
        };
        /**
         * JobMetricsHistory
         * @description The loss curve of a job, as parallel lists; ``null`` where a value was not finite.
         */
        JobMetricsHistory: {
            /** Evallosses */
            evalLosses?: (number | null)[];
            /** Gradnorms */
            gradNorms: (number | null)[];
            /** Learningrates */
            learningRates: (number | null)[];
            /** Losses */
            losses: (number | null)[];
            /** Memorybytes */
            memoryBytes?: (number | null)[];
            /** Mfu */
            mfu?: (number | null)[];
            /** Steps */
            steps: number[];
            /** Tokenspersecond */
            tokensPerSecond?: (number | null)[];
        };
        /**
         * KeyRequest
         * @description ``POST /keys``: what a key is to be good for.
         */
        KeyRequest: {
            /** Expiresat */
            expiresAt?: string | null;
            /** Name */
            name: string;
            /** Projects */
            projects?: string[] | null;
            /** Scopes */
            scopes: string[];
        };
        /**
         * Lineage
         * @description Where a model comes from: job, dataset and commits.
         */
        Lineage: {
            dataset: components["schemas"]["LineageDataset"];
            job: components["schemas"]["LineageJob"];
            model: components["schemas"]["Model"];
            /** Sources */
            sources: components["schemas"]["LineageSource"][];
        };
        /**
         * LineageDataset
         * @description What it was trained on; ``exists`` is false once it was deleted.
         */
        LineageDataset: {
            /** Examplecount */
            exampleCount?: number | null;
            /** Exists */
            exists: boolean;
            /** Id */
            id: string;
            /** Name */
            name: string;
            /** Quality */
            quality?: number | null;
        };
        /**
         * LineageJob
         * @description The training that a model came from.
         */
        LineageJob: {
            config: components["schemas"]["JobConfig"];
            /** Finalloss */
            finalLoss?: number | null;
            /** Finishedat */
            finishedAt?: string | null;
            /** Id */
            id: string;
            /** Startedat */
            startedAt?: string | null;
            status: components["schemas"]["RunStatus"];
        };
        /**
         * LineageSource
         * @description A source of that dataset, at the revision (of a repository: the commit) that was read.
         */
        LineageSource: {
            /** Branch */
            branch?: string | null;
            /** Exists */
            exists: boolean;
            /** Id */
            id: string;
            /** Name */
            name?: string | null;
            /** Revision */
            revision: string;
            /** Url */
            url?: string | null;
        };
        /**
         * Memory
         * @description Bytes.
         */
        Memory: {
            /** Total */
            total: number;
            /** Used */
            used: number;
        };
        /**
         * MemoryPlan
         * @description Estimated bytes of one worker by what they hold; ``peak`` is the most at one time.
         *
         *     ``host`` lies in the machine's memory where the rest lies on a GPU; ``publishing`` is the
         *     peak of the end, when the trained model and the published one are compared.
         */
        MemoryPlan: {
            /** Activations */
            activations: number;
            /** Adapters */
            adapters: number;
            /** Gradients */
            gradients: number;
            /** Host */
            host: number;
            /** Logits */
            logits: number;
            /** Optimizer */
            optimizer: number;
            /** Peak */
            peak: number;
            /** Process */
            process: number;
            /** Publishing */
            publishing: number;
            /** Weights */
            weights: number;
        };
        /**
         * Message
         * @description An acknowledgement.
         */
        Message: {
            /** Message */
            message: string;
        };
        /** Meta */
        Meta: {
            limit?: number;
            offset?: number;
            /** Format: date-time */
            timestamp: string;
            total?: number;
        };
        /**
         * Mission
         * @description One proposal, as lists show it.
         */
        Mission: {
            /** Confidence */
            confidence: number;
            /** Createdat */
            createdAt: string;
            /** Description */
            description: string;
            /** Id */
            id: string;
            /**
             * Priority
             * @enum {string}
             */
            priority: "low" | "medium" | "high";
            /** Projectname */
            projectName?: string | null;
            status: components["schemas"]["MissionStatus"];
            /** Title */
            title: string;
            /**
             * Type
             * @enum {string}
             */
            type: "retrain" | "deploy" | "alert";
            /** Updatedat */
            updatedAt: string;
            /** Version */
            version: number;
            /**
             * Watcher
             * @enum {string}
             */
            watcher: "retrain" | "deploy" | "failed_jobs" | "missing_model" | "slow_model" | "dataset_quality" | "full_disk" | "stalled_queue";
        };
        /**
         * MissionDetail
         * @description A mission with its evidence, its action, and what came of it.
         */
        MissionDetail: {
            /** Artifacts */
            artifacts?: components["schemas"]["ArtifactLink"][];
            /** Confidence */
            confidence: number;
            /** Createdat */
            createdAt: string;
            decision?: components["schemas"]["Decision"] | null;
            /** Description */
            description: string;
            /** Evidence */
            evidence?: {
                [key: string]: unknown;
            };
            execution?: components["schemas"]["Execution"] | null;
            /** Id */
            id: string;
            outcome?: components["schemas"]["Outcome"] | null;
            /**
             * Priority
             * @enum {string}
             */
            priority: "low" | "medium" | "high";
            /** Projectname */
            projectName?: string | null;
            reasoning: components["schemas"]["Reasoning"];
            recommendedAction: components["schemas"]["RecommendedAction"];
            /** Relateddatasetids */
            relatedDatasetIds?: string[];
            /** Relatedjobids */
            relatedJobIds?: string[];
            /** Relatedmodelids */
            relatedModelIds?: string[];
            status: components["schemas"]["MissionStatus"];
            /** Supersededbecause */
            supersededBecause?: string | null;
            /** Title */
            title: string;
            /**
             * Type
             * @enum {string}
             */
            type: "retrain" | "deploy" | "alert";
            /** Updatedat */
            updatedAt: string;
            /** Version */
            version: number;
            /**
             * Watcher
             * @enum {string}
             */
            watcher: "retrain" | "deploy" | "failed_jobs" | "missing_model" | "slow_model" | "dataset_quality" | "full_disk" | "stalled_queue";
        };
        /**
         * MissionList
         * @description One page of missions; ``total`` counts those that the filters match, ``pending`` all open.
         */
        MissionList: {
            /** Missions */
            missions: components["schemas"]["Mission"][];
            /** Pending */
            pending: number;
            /** Total */
            total: number;
        };
        /**
         * MissionPolicy
         * @description What is watched in a project, and when it is worth a person's time.
         *
         *     ``configs/missions/default.yaml`` holds the defaults; a project may differ.
         */
        MissionPolicy: {
            autoApproval?: components["schemas"]["AutoApproval"];
            /**
             * Diskfreefraction
             * @default 0.1
             */
            diskFreeFraction?: number;
            /**
             * Driftmargin
             * @default 0.05
             */
            driftMargin?: number;
            /**
             * Failures
             * @default 2
             */
            failures?: number;
            /**
             * Growthafterrejection
             * @default 0.25
             */
            growthAfterRejection?: number;
            /**
             * Latencyratio
             * @default 1.5
             */
            latencyRatio?: number;
            /**
             * Minchangedchunks
             * @default 5
             */
            minChangedChunks?: number;
            /**
             * Minconfidence
             * @default 70
             */
            minConfidence?: number;
            /**
             * Qualitydrop
             * @default 0.1
             */
            qualityDrop?: number;
            /**
             * Queueseconds
             * @default 1800
             */
            queueSeconds?: number;
            quietHours?: components["schemas"]["QuietHours"] | null;
            /** Watchers */
            watchers?: ("retrain" | "deploy" | "failed_jobs" | "missing_model" | "slow_model" | "dataset_quality" | "full_disk" | "stalled_queue")[];
        };
        /**
         * MissionStatus
         * @description Where a mission is in its life.
         * @enum {string}
         */
        MissionStatus: "pending_approval" | "approved" | "rejected" | "superseded";
        /**
         * Model
         * @description One version of a project's model.
         *
         *     ``ollama_name`` is what Ollama knows it by: ``project:latest`` while it is active, else its
         *     own immutable tag; ``null`` until it was deployed there.
         */
        Model: {
            /** Activatedat */
            activatedAt?: string | null;
            /** Basemodel */
            baseModel: string;
            /** Createdat */
            createdAt: string;
            /** Datasetid */
            datasetId: string;
            /** Deployedat */
            deployedAt?: string | null;
            /** Engine */
            engine?: ("ollama" | "llama.cpp") | null;
            /** Error */
            error?: string | null;
            /** Errorcode */
            errorCode?: string | null;
            /** Id */
            id: string;
            /** Jobid */
            jobId: string;
            /**
             * Method
             * @enum {string}
             */
            method: "pissa" | "lora" | "full";
            metrics?: components["schemas"]["ModelMetrics"];
            /** Name */
            name: string;
            /** Ollamaname */
            ollamaName?: string | null;
            /** Projectname */
            projectName: string;
            status: components["schemas"]["ModelStatus"];
            /** Version */
            version: number;
        };
        /**
         * ModelActionRequest
         * @description Why somebody deploys, activates, rolls back or deletes a model; kept in its history.
         */
        ModelActionRequest: {
            /** Reason */
            reason?: string | null;
        };
        /**
         * ModelActionResponse
         * @description ``POST /models/:id/activate`` and ``rollback``: what is active now, and by which run.
         */
        ModelActionResponse: {
            /** Message */
            message: string;
            /** Modelid */
            modelId: string;
            /** Runid */
            runId: string;
            status: components["schemas"]["ModelStatus"];
        };
        /**
         * ModelChange
         * @description One entry of a model's append-only history: what was done, by whom, and why.
         */
        ModelChange: {
            /**
             * Action
             * @enum {string}
             */
            action: "registered" | "deployed" | "deploy_failed" | "activated" | "activation_failed" | "rolled_back" | "rollback_failed" | "deleted";
            /** Actor */
            actor: string;
            /** At */
            at: string;
            /** Detail */
            detail?: {
                [key: string]: unknown;
            };
            /** Modelid */
            modelId: string;
            /** Previousmodelid */
            previousModelId?: string | null;
            /** Reason */
            reason?: string | null;
            /** Runid */
            runId?: string | null;
            /** Sequence */
            sequence: number;
        };
        /**
         * ModelMetrics
         * @description Newest measurements of a model; ``null`` where there is none. Latency in milliseconds.
         */
        ModelMetrics: {
            /** Avglatency */
            avgLatency?: number | null;
            /** Codebleu */
            codebleu?: number | null;
            /** Humaneval */
            humaneval?: number | null;
            /** Perplexity */
            perplexity?: number | null;
        };
        /**
         * ModelStatus
         * @description Where a model is in its life.
         * @enum {string}
         */
        ModelStatus: "ready" | "deploying" | "active" | "failed";
        /**
         * OllamaStatus
         * @description What the Ollama server says of itself.
         */
        OllamaStatus: {
            /** Modelsloaded */
            modelsLoaded?: string[];
            /**
             * Status
             * @enum {string}
             */
            status: "running" | "unreachable";
            /** Version */
            version?: string | null;
        };
        /**
         * Outcome
         * @description What an executed mission really changed, measured as its evidence was.
         *
         *     ``metric`` fell (or rose) from ``before`` to ``after``; ``expected`` is what the mission had
         *     said, ``met`` whether at least half of the expected change came about.
         */
        Outcome: {
            /** After */
            after: number;
            /** Before */
            before: number;
            /** Expected */
            expected?: number | null;
            /** Measuredat */
            measuredAt: string;
            /** Met */
            met?: boolean | null;
            /** Metric */
            metric: string;
        };
        /**
         * QuietHours
         * @description A daily span in UTC in which nothing is proposed; may pass midnight.
         */
        QuietHours: {
            /**
             * End
             * Format: time
             */
            end: string;
            /**
             * Start
             * Format: time
             */
            start: string;
        };
        /**
         * RaftConfig
         * @description How examples are made; ``configs/raft/*.yaml`` holds recipes of these.
         */
        RaftConfig: {
            /**
             * Chunktokens
             * @default 160
             */
            chunkTokens?: number;
            /**
             * Contexttokens
             * @default 1024
             */
            contextTokens?: number;
            /**
             * Decontaminate
             * @default true
             */
            decontaminate?: boolean;
            /** Deniedlicenses */
            deniedLicenses?: string[];
            /**
             * Distractors
             * @default 3
             */
            distractors?: number;
            /**
             * Examitems
             * @default 0
             */
            examItems?: number;
            /**
             * Goldenprobability
             * @default 0.8
             */
            goldenProbability?: number;
            /** Reserved */
            reserved?: number[][];
            /**
             * Seed
             * @default 0
             */
            seed?: number;
            /**
             * Validationfraction
             * @default 0.1
             */
            validationFraction?: number;
        };
        /**
         * Reasoning
         * @description Why a mission was raised, in words that follow from its evidence.
         */
        Reasoning: {
            /** Analysis */
            analysis: string;
            /** Expectedoutcome */
            expectedOutcome: string;
            /** Trigger */
            trigger: string;
        };
        /**
         * RecommendedAction
         * @description What approval carries out; ``parameters`` are frozen when the mission is proposed.
         */
        RecommendedAction: {
            /** Parameters */
            parameters?: {
                [key: string]: unknown;
            };
            /**
             * Type
             * @enum {string}
             */
            type: "start_training" | "deploy_model" | "rollback_model" | "acknowledge";
        };
        /**
         * RejectRequest
         * @description ``POST /missions/:id/reject``.
         */
        RejectRequest: {
            /** Reason */
            reason: string;
        };
        /**
         * RotatedSecret
         * @description A fresh secret; until ``previous_valid_until`` deliveries bear the old signature, too.
         */
        RotatedSecret: {
            /** Previousvaliduntil */
            previousValidUntil: string;
            /** Secret */
            secret: string;
            /** Webhookid */
            webhookId: string;
        };
        /**
         * RunStatus
         * @description Where a run is in its life.
         * @enum {string}
         */
        RunStatus: "queued" | "running" | "cancelling" | "completed" | "failed" | "cancelled";
        /**
         * Source
         * @description One data source; ``revision`` is the commit (or content hash) that was read last.
         *
         *     ``sync_seconds`` is how long after a sync it is synced again by itself; ``None`` is as the
         *     platform's settings say. After a failure the time doubles with each further one, up to a day.
         */
        Source: {
            /** Branch */
            branch?: string | null;
            /** Createdat */
            createdAt: string;
            /** Error */
            error?: string | null;
            /** Errorcode */
            errorCode?: string | null;
            /** Excludepatterns */
            excludePatterns?: string[];
            /**
             * Filecount
             * @default 0
             */
            fileCount?: number;
            history?: components["schemas"]["SourceHistory"] | null;
            /** Id */
            id: string;
            /** Includepatterns */
            includePatterns?: string[];
            /** Lastsyncedat */
            lastSyncedAt?: string | null;
            /** Name */
            name: string;
            /**
             * Progress
             * @default 0
             */
            progress?: number;
            /** Revision */
            revision?: string | null;
            /**
             * Skippedcount
             * @default 0
             */
            skippedCount?: number;
            status: components["schemas"]["SourceStatus"];
            /** Syncseconds */
            syncSeconds?: number | null;
            /**
             * Totalbytes
             * @default 0
             */
            totalBytes?: number;
            /**
             * Type
             * @enum {string}
             */
            type: "git" | "local" | "upload";
            /** Url */
            url?: string | null;
        };
        /**
         * SourceCommit
         * @description One commit of a repository.
         */
        SourceCommit: {
            /** At */
            at: string;
            /** Id */
            id: string;
            /** Subject */
            subject: string;
        };
        /**
         * SourceCreated
         * @description The source and the run that reads it.
         */
        SourceCreated: {
            /** Parsingjobid */
            parsingJobId: string;
            /** Sourceid */
            sourceId: string;
        };
        /**
         * SourceFile
         * @description One file of a source, read or skipped; ``skipped`` is the reason.
         */
        SourceFile: {
            /** Blob */
            blob?: string | null;
            /** Language */
            language?: string | null;
            /** Path */
            path: string;
            /** Size */
            size: number;
            /** Skipped */
            skipped?: string | null;
        };
        /**
         * SourceHistory
         * @description Where the last sync of a repository stands among its commits.
         *
         *     ``commit_count`` are those since ``previous_commit``, ``None`` where that is unknown or nothing
         *     was read before; ``commits`` names the newest 100 of them. ``rewritten`` says that the earlier
         *     commit is no ancestor any more.
         */
        SourceHistory: {
            /** Branch */
            branch: string;
            /** Commit */
            commit: string;
            /** Commitcount */
            commitCount?: number | null;
            /** Commits */
            commits?: components["schemas"]["SourceCommit"][];
            /** Previouscommit */
            previousCommit?: string | null;
            /**
             * Rewritten
             * @default false
             */
            rewritten?: boolean;
        };
        /**
         * SourceStatus
         * @description Where a source is in its life.
         * @enum {string}
         */
        SourceStatus: "syncing" | "synced" | "failed";
        /**
         * SourceUpdate
         * @description ``PATCH /data-sources/:id``.
         */
        SourceUpdate: {
            /** Syncseconds */
            syncSeconds: number | null;
        };
        /**
         * StageYield
         * @description How many items entered and left one stage of a build, and why the others did not.
         */
        StageYield: {
            /** Dropped */
            dropped?: {
                [key: string]: number;
            };
            /** Entered */
            entered: number;
            /** Left */
            left: number;
            /** Stage */
            stage: string;
        };
        /**
         * StreamOptions
         * @description ``include_usage`` has the counts of tokens sent as the last chunk.
         */
        StreamOptions: {
            /**
             * Include Usage
             * @default false
             */
            include_usage?: boolean;
        };
        /**
         * SyncStarted
         * @description The run that reads the source again.
         */
        SyncStarted: {
            /** Jobid */
            jobId: string;
            /** Message */
            message: string;
        };
        /**
         * SystemStatus
         * @description ``GET /status``; ``uptime`` in seconds.
         */
        SystemStatus: {
            cpu: components["schemas"]["Cpu"];
            gpu?: components["schemas"]["Gpu"] | null;
            /** Gpus */
            gpus?: components["schemas"]["Gpu"][];
            /** Healthy */
            healthy: boolean;
            memory: components["schemas"]["Memory"];
            ollama: components["schemas"]["OllamaStatus"];
            /**
             * Queuedjobs
             * @default 0
             */
            queuedJobs?: number;
            /** Runningjobs */
            runningJobs: number;
            /** Uptime */
            uptime: number;
            /** Version */
            version: string;
        };
        /**
         * TeacherConfig
         * @description A model that writes questions and answers; ``configs/raft/teacher.yaml`` is a recipe.
         */
        TeacherConfig: {
            /** Apikeyenv */
            apiKeyEnv?: string | null;
            /**
             * Engine
             * @default openai
             * @enum {string}
             */
            engine?: "openai" | "vllm";
            /** Maxrequests */
            maxRequests?: number | null;
            /**
             * Maxretries
             * @default 6
             */
            maxRetries?: number;
            /**
             * Maxtokens
             * @default 1024
             */
            maxTokens?: number;
            /** Maxtotaltokens */
            maxTotalTokens?: number | null;
            /** Model */
            model: string;
            /** Pricepermillionprompttokens */
            pricePerMillionPromptTokens?: number | null;
            /** Pricepermillionreplytokens */
            pricePerMillionReplyTokens?: number | null;
            /**
             * Questionsperchunk
             * @default 3
             */
            questionsPerChunk?: number;
            /**
             * Slots
             * @default 32
             */
            slots?: number;
            /**
             * Structured
             * @default true
             */
            structured?: boolean;
            /**
             * Temperature
             * @default 0.3
             */
            temperature?: number;
            /**
             * Timeoutseconds
             * @default 120
             */
            timeoutSeconds?: number;
            /** Url */
            url?: string | null;
        };
        /**
         * TeacherUse
         * @description What a teacher was asked and what that cost.
         *
         *     ``requests`` and tokens are what this dataset paid for, over all attempts to build it;
         *     ``cached`` replies were paid for by others. ``cost`` is in the currency of the prices, ``None``
         *     without prices. ``dropped`` counts questions, or chunks, by the reason they were not used.
         *     ``tokens_estimated`` says that the endpoint did not count all of its tokens.
         */
        TeacherUse: {
            /**
             * Budgetspent
             * @default false
             */
            budgetSpent?: boolean;
            /**
             * Cached
             * @default 0
             */
            cached?: number;
            /**
             * Chunks
             * @default 0
             */
            chunks?: number;
            /** Cost */
            cost?: number | null;
            /** Dropped */
            dropped?: {
                [key: string]: number;
            };
            /** Model */
            model: string;
            /**
             * Pairs
             * @default 0
             */
            pairs?: number;
            /**
             * Prompttokens
             * @default 0
             */
            promptTokens?: number;
            /**
             * Repairs
             * @default 0
             */
            repairs?: number;
            /**
             * Replytokens
             * @default 0
             */
            replyTokens?: number;
            /**
             * Requests
             * @default 0
             */
            requests?: number;
            /**
             * Retries
             * @default 0
             */
            retries?: number;
            /**
             * Tokensestimated
             * @default false
             */
            tokensEstimated?: boolean;
        };
        /**
         * TextPart
         * @description A piece of a message; there are no others than text.
         */
        TextPart: {
            /** Text */
            text: string;
            /**
             * Type
             * @constant
             */
            type: "text";
        };
        /**
         * TimePlan
         * @description Expected seconds, from a probe of the model's layers on the cluster's own device.
         */
        TimePlan: {
            /** Devicename */
            deviceName: string;
            /** Seconds */
            seconds: number;
            /** Secondsperstep */
            secondsPerStep: number;
        };
        /**
         * TrackRecord
         * @description How a project's missions fared: decisions, executions, and outcomes against expectations.
         */
        TrackRecord: {
            /** Approved */
            approved: number;
            /** Executed */
            executed: number;
            /** Failed */
            failed: number;
            /** Meanrelativechange */
            meanRelativeChange?: number | null;
            /**
             * Met
             * @default 0
             */
            met?: number;
            /** Outcomes */
            outcomes?: components["schemas"]["Outcome"][];
            /** Projectname */
            projectName: string;
            /** Proposed */
            proposed: number;
            /** Rejected */
            rejected: number;
            /** Superseded */
            superseded: number;
        };
        /**
         * TrainingPlan
         * @description The answer to ``POST /v1/fine-tune?dryRun=true``: nothing is queued.
         *
         *     ``fits`` is ``null`` where the memory of the devices, or of the model, is not known; where it
         *     is false, ``changes`` are the settings of the request with which it would be true. ``data``
         *     and ``time`` are ``null`` where there is no cluster to measure them on.
         */
        TrainingPlan: {
            /** Availablebytes */
            availableBytes: number | null;
            /** Basemodel */
            baseModel: string;
            /** Changes */
            changes?: {
                [key: string]: unknown;
            };
            data?: components["schemas"]["DataPlan"] | null;
            /**
             * Device
             * @enum {string}
             */
            device: "cpu" | "cuda";
            /** Diskbytes */
            diskBytes: number;
            /** Fits */
            fits: boolean | null;
            /** Freediskbytes */
            freeDiskBytes: number | null;
            /** Maxseqlength */
            maxSeqLength: number;
            memory: components["schemas"]["MemoryPlan"] | null;
            /**
             * Method
             * @enum {string}
             */
            method: "pissa" | "lora" | "full";
            /** Minworkers */
            minWorkers: number;
            /** Numworkers */
            numWorkers: number;
            /** Parameters */
            parameters: number | null;
            /** Resumesfrom */
            resumesFrom?: string | null;
            /** Rowsperstep */
            rowsPerStep: number;
            time?: components["schemas"]["TimePlan"] | null;
            /** Trainedparameters */
            trainedParameters: number | null;
            /** Zerostage */
            zeroStage: number;
            /** Zerostagereason */
            zeroStageReason: string;
        };
        /**
         * Usage
         * @description Counts of tokens, as the engine gave them.
         */
        Usage: {
            /** Completion Tokens */
            completion_tokens: number;
            /** Prompt Tokens */
            prompt_tokens: number;
            /** Total Tokens */
            total_tokens: number;
        };
        /**
         * Validation
         * @description Measured quality of the model that a job trained, beside the base's and the active model's.
         *
         *     ``passed`` follows from ``gates`` alone. ``active`` is ``null`` where no other model of the
         *     project was active; then the base model was the champion and ``champion_id`` is ``null``.
         */
        Validation: {
            active?: components["schemas"]["ValidationMetrics"] | null;
            /** Artifactids */
            artifactIds?: string[];
            baseline?: components["schemas"]["ValidationMetrics"] | null;
            /** Championid */
            championId?: string | null;
            /** Gates */
            gates?: components["schemas"]["GateVerdict"][];
            /** Jobid */
            jobId: string;
            metrics: components["schemas"]["ValidationMetrics"];
            /** Modelid */
            modelId?: string | null;
            /** Passed */
            passed?: boolean | null;
            /** Pendingrunid */
            pendingRunId?: string | null;
            /** Policy */
            policy?: string | null;
            /** Runat */
            runAt: string;
            /** Runid */
            runId?: string | null;
        };
        /**
         * ValidationMetrics
         * @description What was measured of a model; ``null`` where it was not, and ``not_measured`` says why.
         *
         *     ``humaneval`` is pass@1 and ``exam`` the same for functions of the repository itself;
         *     ``latency`` is the median time to the first token in milliseconds. ``samples`` counts for each
         *     metric what it rests on, ``intervals`` holds 95 % bootstrap intervals.
         */
        ValidationMetrics: {
            /** Bitsperbyte */
            bitsPerByte?: number | null;
            /** Codebleu */
            codebleu?: number | null;
            /** Details */
            details?: {
                [key: string]: unknown;
            };
            /** Exam */
            exam?: number | null;
            /** Humaneval */
            humaneval?: number | null;
            /** Intervals */
            intervals?: {
                [key: string]: unknown;
            };
            /** Latency */
            latency?: number | null;
            /** Notmeasured */
            notMeasured?: {
                [key: string]: unknown;
            };
            /** Perplexity */
            perplexity?: number | null;
            /** Samples */
            samples?: {
                [key: string]: unknown;
            };
            /** Scoredtokens */
            scoredTokens?: number | null;
        };
        /**
         * ValidationRequest
         * @description ``POST /jobs/:jobId/validation``.
         */
        ValidationRequest: {
            /** Examitems */
            examItems?: number | null;
            /** Policy */
            policy?: string | null;
        };
        /**
         * ValidationStarted
         * @description The validation that was queued, or is under way already.
         */
        ValidationStarted: {
            /** Jobid */
            jobId: string;
            /** Message */
            message: string;
            /** Runid */
            runId: string;
            status: components["schemas"]["RunStatus"];
        };
        /**
         * Webhook
         * @description A subscription, without its secret.
         */
        Webhook: {
            /** Createdat */
            createdAt: string;
            /** Createdby */
            createdBy: string;
            /** Description */
            description?: string | null;
            /** Disabledreason */
            disabledReason?: string | null;
            /** Events */
            events: string[];
            /** Id */
            id: string;
            status: components["schemas"]["WebhookStatus"];
            /** Url */
            url: string;
        };
        /**
         * WebhookRequest
         * @description ``POST /webhooks``: where to send which events.
         */
        WebhookRequest: {
            /** Description */
            description?: string | null;
            /** Events */
            events: string[];
            /** Url */
            url: string;
        };
        /**
         * WebhookStatus
         * @description Whether events are sent.
         * @enum {string}
         */
        WebhookStatus: "active" | "disabled";
        /**
         * YieldReport
         * @description The account of a build.
         *
         *     ``cleaned`` is how often what was taken out of the files' texts.
         *     ``quality_components`` are the factors of ``quality``, ``None`` where unmeasured;
         *     ``quality_samples`` the number of items that each was measured on, ``quality_weights`` their
         *     exponents. ``teacher`` is what a teacher was asked, where there was one.
         */
        YieldReport: {
            /** Cleaned */
            cleaned?: {
                [key: string]: number;
            };
            /** Kinds */
            kinds?: {
                [key: string]: number;
            };
            /** Qualitycomponents */
            qualityComponents?: {
                [key: string]: number | null;
            };
            /** Qualitysamples */
            qualitySamples?: {
                [key: string]: number;
            };
            /** Qualityweights */
            qualityWeights?: {
                [key: string]: number;
            };
            /** Stages */
            stages?: components["schemas"]["StageYield"][];
            teacher?: components["schemas"]["TeacherUse"] | null;
        };
    };
    responses: never;
    parameters: never;
    requestBodies: never;
    headers: never;
    pathItems: never;
}
export type $defs = Record<string, never>;
export interface operations {
    listArtifacts: {
        parameters: {
            query?: {
                /** @description Only artifacts about this job, model, dataset, mission or run. */
                resourceId?: string | null;
                /** @description Most items to answer. */
                limit?: number;
                /** @description How many of the newest items to leave out. */
                offset?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Artifact"][];
                };
            };
            /** @description Every error has this body. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    getArtifact: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                artifact_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Artifact"];
                };
            };
            /** @description Every error has this body. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    getArtifactContent: {
        parameters: {
            query?: never;
            header?: {
                /** @description The bytes that are wanted, `bytes=0-1023`. */
                Range?: string | null;
            };
            path: {
                artifact_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The content. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "*/*": string;
                    "application/json": Record<string, never>;
                    "text/markdown": string;
                    "text/plain": string;
                };
            };
            /** @description The part that `Range` asks for. */
            206: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "*/*": string;
                };
            };
            /** @description `If-None-Match` names the content as it is. */
            304: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description Every error has this body. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    listAudit: {
        parameters: {
            query?: {
                /** @description Only what this one did, `key-…` or `token:<subject>`. */
                principal?: string | null;
                /** @description Only what touched this resource. */
                resourceId?: string | null;
                /** @description Only this request. */
                requestId?: string | null;
                /** @description Only requests that ended so. */
                outcome?: components["schemas"]["AuditOutcome"] | null;
                /** @description From this moment on. */
                since?: string | null;
                /** @description Before this moment. */
                until?: string | null;
                /** @description Most items to answer. */
                limit?: number;
                /** @description How many of the newest items to leave out. */
                offset?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AuditEntry"][];
                };
            };
            /** @description Every error has this body. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    listDataSources: {
        parameters: {
            query?: {
                /** @description Most items to answer. */
                limit?: number;
                /** @description How many of the newest items to leave out. */
                offset?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Source"][];
                };
            };
            /** @description Every error has this body. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    createDataSource: {
        parameters: {
            query?: never;
            header?: {
                /** @description A repetition with the same key is answered as the first request was, and changes nothing; with another body it is refused. */
                "Idempotency-Key"?: string | null;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["GitSourceRequest"];
                "multipart/form-data": {
                    /** @description In gitignore syntax, separated by commas or line breaks. */
                    excludePatterns?: string;
                    /** @description Files; `.zip` and `.tar.gz` archives are unpacked. */
                    files: string[];
                    /** @description In gitignore syntax, separated by commas or line breaks. */
                    includePatterns?: string;
                    name?: string;
                };
            };
        };
        responses: {
            /** @description Successful Response */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SourceCreated"];
                };
            };
            /** @description Every error has this body. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    getDataSource: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                source_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Source"];
                };
            };
            /** @description Every error has this body. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    deleteDataSource: {
        parameters: {
            query?: never;
            header?: {
                /** @description A repetition with the same key is answered as the first request was, and changes nothing; with another body it is refused. */
                "Idempotency-Key"?: string | null;
            };
            path: {
                source_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Message"];
                };
            };
            /** @description Every error has this body. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    updateDataSource: {
        parameters: {
            query?: never;
            header?: {
                /** @description A repetition with the same key is answered as the first request was, and changes nothing; with another body it is refused. */
                "Idempotency-Key"?: string | null;
            };
            path: {
                source_id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["SourceUpdate"];
            };
        };
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Source"];
                };
            };
            /** @description Every error has this body. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    listDataSourceFiles: {
        parameters: {
            query?: {
                /** @description Most items to answer. */
                limit?: number;
                /** @description How many of the newest items to leave out. */
                offset?: number;
            };
            header?: never;
            path: {
                source_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SourceFile"][];
                };
            };
            /** @description Every error has this body. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    syncDataSource: {
        parameters: {
            query?: never;
            header?: {
                /** @description A repetition with the same key is answered as the first request was, and changes nothing; with another body it is refused. */
                "Idempotency-Key"?: string | null;
            };
            path: {
                source_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SyncStarted"];
                };
            };
            /** @description Every error has this body. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    listDatasets: {
        parameters: {
            query?: {
                /** @description Most items to answer. */
                limit?: number;
                /** @description How many of the newest items to leave out. */
                offset?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Dataset"][];
                };
            };
            /** @description Every error has this body. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    generateDataset: {
        parameters: {
            query?: never;
            header?: {
                /** @description A repetition with the same key is answered as the first request was, and changes nothing; with another body it is refused. */
                "Idempotency-Key"?: string | null;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["GenerateRequest"];
            };
        };
        responses: {
            /** @description Successful Response */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["GenerateResponse"];
                };
            };
            /** @description Every error has this body. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    getDataset: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                dataset_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["DatasetDetail"];
                };
            };
            /** @description Every error has this body. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    deleteDataset: {
        parameters: {
            query?: never;
            header?: {
                /** @description A repetition with the same key is answered as the first request was, and changes nothing; with another body it is refused. */
                "Idempotency-Key"?: string | null;
            };
            path: {
                dataset_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Message"];
                };
            };
            /** @description Every error has this body. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    cancelDataset: {
        parameters: {
            query?: never;
            header?: {
                /** @description A repetition with the same key is answered as the first request was, and changes nothing; with another body it is refused. */
                "Idempotency-Key"?: string | null;
            };
            path: {
                dataset_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Message"];
                };
            };
            /** @description Every error has this body. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    exportDataset: {
        parameters: {
            query?: {
                /** @description Which examples. */
                split?: "train" | "validation" | "all";
                /** @description Their shape; the dataset's own when absent. */
                format?: ("alpaca" | "chat" | "sharegpt" | "completion") | null;
            };
            header?: never;
            path: {
                dataset_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Examples, one JSON object per line. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/x-ndjson": string;
                };
            };
            /** @description Every error has this body. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    streamEvents: {
        parameters: {
            query?: {
                /** @description Sequence number to start after; from now on if absent. */
                after?: number | null;
            };
            header?: {
                /** @description Id of the last event that was received; the stream goes on after it. */
                "Last-Event-ID"?: string | null;
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A stream of events. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/event-stream": {
                        data: string;
                        event: string;
                        /** @description What `Last-Event-ID` takes the stream up after. */
                        id?: string;
                        /** @description Milliseconds. */
                        retry?: number | string;
                    };
                };
            };
            /** @description Every error has this body. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    getHealth: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Health"];
                };
            };
            /** @description The platform cannot work. */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Health"];
                };
            };
            /** @description Every error has this body. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    listJobs: {
        parameters: {
            query?: {
                /** @description Only jobs of this status. */
                status?: components["schemas"]["RunStatus"] | null;
                /** @description Only jobs of this project. */
                projectName?: string | null;
                /** @description Most items to answer. */
                limit?: number;
                /** @description How many of the newest items to leave out. */
                offset?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Job"][];
                };
            };
            /** @description Every error has this body. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    getJob: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                job_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Job"];
                };
            };
            /** @description Every error has this body. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    cancelJob: {
        parameters: {
            query?: never;
            header?: {
                /** @description A repetition with the same key is answered as the first request was, and changes nothing; with another body it is refused. */
                "Idempotency-Key"?: string | null;
            };
            path: {
                job_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Message"];
                };
            };
            /** @description Every error has this body. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    streamJobEvents: {
        parameters: {
            query?: never;
            header?: {
                /** @description Id of the last event that was received; the stream goes on after it. */
                "Last-Event-ID"?: string | null;
            };
            path: {
                job_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description A stream of events. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/event-stream": {
                        data: string;
                        event: string;
                        /** @description What `Last-Event-ID` takes the stream up after. */
                        id?: string;
                        /** @description Milliseconds. */
                        retry?: number | string;
                    };
                };
            };
            /** @description Every error has this body. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    exportJob: {
        parameters: {
            query?: {
                /** @description Seconds after which the answer says `running`. */
                wait?: number;
            };
            header?: {
                /** @description A repetition with the same key is answered as the first request was, and changes nothing; with another body it is refused. */
                "Idempotency-Key"?: string | null;
            };
            path: {
                job_id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["ExportRequest"];
            };
        };
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Export"];
                };
            };
            /** @description Every error has this body. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    listExports: {
        parameters: {
            query?: {
                /** @description Most items to answer. */
                limit?: number;
                /** @description How many of the newest items to leave out. */
                offset?: number;
            };
            header?: never;
            path: {
                job_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Export"][];
                };
            };
            /** @description Every error has this body. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    getExport: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                job_id: string;
                export_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ExportDetail"];
                };
            };
            /** @description Every error has this body. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    deleteExport: {
        parameters: {
            query?: never;
            header?: {
                /** @description A repetition with the same key is answered as the first request was, and changes nothing; with another body it is refused. */
                "Idempotency-Key"?: string | null;
            };
            path: {
                job_id: string;
                export_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Message"];
                };
            };
            /** @description Every error has this body. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    cancelExport: {
        parameters: {
            query?: never;
            header?: {
                /** @description A repetition with the same key is answered as the first request was, and changes nothing; with another body it is refused. */
                "Idempotency-Key"?: string | null;
            };
            path: {
                job_id: string;
                export_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Message"];
                };
            };
            /** @description Every error has this body. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    getExportFile: {
        parameters: {
            query?: never;
            header?: {
                /** @description The bytes that are wanted, `bytes=0-1023`. */
                Range?: string | null;
            };
            path: {
                job_id: string;
                export_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The content. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/octet-stream": string;
                };
            };
            /** @description The part that `Range` asks for. */
            206: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "*/*": string;
                };
            };
            /** @description `If-None-Match` names the content as it is. */
            304: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description Every error has this body. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    getExportFileByName: {
        parameters: {
            query?: never;
            header?: {
                /** @description The bytes that are wanted, `bytes=0-1023`. */
                Range?: string | null;
            };
            path: {
                job_id: string;
                export_id: string;
                name: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description The content. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/octet-stream": string;
                };
            };
            /** @description The part that `Range` asks for. */
            206: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "*/*": string;
                };
            };
            /** @description `If-None-Match` names the content as it is. */
            304: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description Every error has this body. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    getJobLogs: {
        parameters: {
            query?: {
                /** @description Number of lines from the end. */
                tail?: number;
            };
            header?: never;
            path: {
                job_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["JobLogs"];
                };
            };
            /** @description Every error has this body. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    getJobMetrics: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                job_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["JobMetricsHistory"];
                };
            };
            /** @description Every error has this body. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    getJobValidation: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                job_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Validation"];
                };
            };
            /** @description Every error has this body. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    validateJob: {
        parameters: {
            query?: never;
            header?: {
                /** @description A repetition with the same key is answered as the first request was, and changes nothing; with another body it is refused. */
                "Idempotency-Key"?: string | null;
            };
            path: {
                job_id: string;
            };
            cookie?: never;
        };
        requestBody?: {
            content: {
                "application/json": components["schemas"]["ValidationRequest"] | null;
            };
        };
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ValidationStarted"];
                };
            };
            /** @description Every error has this body. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    listKeys: {
        parameters: {
            query?: {
                /** @description Most items to answer. */
                limit?: number;
                /** @description How many of the newest items to leave out. */
                offset?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ApiKey"][];
                };
            };
            /** @description Every error has this body. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    createKey: {
        parameters: {
            query?: never;
            header?: {
                /** @description A repetition with the same key is answered as the first request was, and changes nothing; with another body it is refused. */
                "Idempotency-Key"?: string | null;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["KeyRequest"];
            };
        };
        responses: {
            /** @description Successful Response */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["CreatedKey"];
                };
            };
            /** @description Every error has this body. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    revokeKey: {
        parameters: {
            query?: never;
            header?: {
                /** @description A repetition with the same key is answered as the first request was, and changes nothing; with another body it is refused. */
                "Idempotency-Key"?: string | null;
            };
            path: {
                key_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ApiKey"];
                };
            };
            /** @description Every error has this body. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    listMissions: {
        parameters: {
            query?: {
                /** @description Only missions of this status. */
                status?: components["schemas"]["MissionStatus"] | null;
                /** @description Only missions of this type. */
                type?: ("retrain" | "deploy" | "alert") | null;
                /** @description Only missions of this project. */
                projectName?: string | null;
                /** @description Most items to answer. */
                limit?: number;
                /** @description How many of the newest items to leave out. */
                offset?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["MissionList"];
                };
            };
            /** @description Every error has this body. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    getMission: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                mission_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["MissionDetail"];
                };
            };
            /** @description Every error has this body. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    approveMission: {
        parameters: {
            query?: never;
            header?: {
                /** @description A repetition with the same key is answered as the first request was, and changes nothing; with another body it is refused. */
                "Idempotency-Key"?: string | null;
            };
            path: {
                mission_id: string;
            };
            cookie?: never;
        };
        requestBody?: {
            content: {
                "application/json": components["schemas"]["ApproveRequest"] | null;
            };
        };
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Message"];
                };
            };
            /** @description Every error has this body. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    rejectMission: {
        parameters: {
            query?: never;
            header?: {
                /** @description A repetition with the same key is answered as the first request was, and changes nothing; with another body it is refused. */
                "Idempotency-Key"?: string | null;
            };
            path: {
                mission_id: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["RejectRequest"];
            };
        };
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Message"];
                };
            };
            /** @description Every error has this body. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    listModels: {
        parameters: {
            query?: {
                /** @description Only models of this status. */
                status?: components["schemas"]["ModelStatus"] | null;
                /** @description Only models of this project. */
                projectName?: string | null;
                /** @description Most items to answer. */
                limit?: number;
                /** @description How many of the newest items to leave out. */
                offset?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Model"][];
                };
            };
            /** @description Every error has this body. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    getActiveModel: {
        parameters: {
            query?: {
                /** @description Only models of this project. */
                projectName?: string | null;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Model"];
                };
            };
            /** @description Every error has this body. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    getModel: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                model_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Model"];
                };
            };
            /** @description Every error has this body. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    deleteModel: {
        parameters: {
            query?: {
                /** @description Why; kept in the model's history. */
                reason?: string | null;
            };
            header?: {
                /** @description A repetition with the same key is answered as the first request was, and changes nothing; with another body it is refused. */
                "Idempotency-Key"?: string | null;
            };
            path: {
                model_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Message"];
                };
            };
            /** @description Every error has this body. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    activateModel: {
        parameters: {
            query?: {
                /** @description Seconds to wait until it is done, at most. */
                wait?: number;
            };
            header?: {
                /** @description A repetition with the same key is answered as the first request was, and changes nothing; with another body it is refused. */
                "Idempotency-Key"?: string | null;
            };
            path: {
                model_id: string;
            };
            cookie?: never;
        };
        requestBody?: {
            content: {
                "application/json": components["schemas"]["ModelActionRequest"] | null;
            };
        };
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ModelActionResponse"];
                };
            };
            /** @description Every error has this body. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    deployModel: {
        parameters: {
            query?: {
                /** @description Seconds to wait until it is done, at most. */
                wait?: number;
            };
            header?: {
                /** @description A repetition with the same key is answered as the first request was, and changes nothing; with another body it is refused. */
                "Idempotency-Key"?: string | null;
            };
            path: {
                model_id: string;
            };
            cookie?: never;
        };
        requestBody?: {
            content: {
                "application/json": components["schemas"]["ModelActionRequest"] | null;
            };
        };
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["DeployResponse"];
                };
            };
            /** @description Every error has this body. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    getModelHistory: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                model_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ModelChange"][];
                };
            };
            /** @description Every error has this body. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    getModelLineage: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                model_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Lineage"];
                };
            };
            /** @description Every error has this body. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    rollBackModel: {
        parameters: {
            query?: {
                /** @description Seconds to wait until it is done, at most. */
                wait?: number;
            };
            header?: {
                /** @description A repetition with the same key is answered as the first request was, and changes nothing; with another body it is refused. */
                "Idempotency-Key"?: string | null;
            };
            path: {
                model_id: string;
            };
            cookie?: never;
        };
        requestBody?: {
            content: {
                "application/json": components["schemas"]["ModelActionRequest"] | null;
            };
        };
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ModelActionResponse"];
                };
            };
            /** @description Every error has this body. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    getMissionPolicy: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Name of a project. */
                project_name: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["MissionPolicy"];
                };
            };
            /** @description Every error has this body. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    putMissionPolicy: {
        parameters: {
            query?: never;
            header?: {
                /** @description A repetition with the same key is answered as the first request was, and changes nothing; with another body it is refused. */
                "Idempotency-Key"?: string | null;
            };
            path: {
                /** @description Name of a project. */
                project_name: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["MissionPolicy"];
            };
        };
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["MissionPolicy"];
                };
            };
            /** @description Every error has this body. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    getTrackRecord: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                /** @description Name of a project. */
                project_name: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["TrackRecord"];
                };
            };
            /** @description Every error has this body. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    getStatus: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SystemStatus"];
                };
            };
            /** @description Every error has this body. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    createChatCompletion: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["ChatRequest"];
            };
        };
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ChatCompletion"];
                    "text/event-stream": string;
                };
            };
            /** @description Every error has this body. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    fineTune: {
        parameters: {
            query?: {
                /** @description Answer 200 with the plan of the job (memory, disk, data, time) and queue nothing. */
                dryRun?: boolean;
            };
            header?: {
                /** @description A repetition with the same key is answered as the first request was, and changes nothing; with another body it is refused. */
                "Idempotency-Key"?: string | null;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["FineTuneRequest"];
            };
        };
        responses: {
            /** @description The plan, where `dryRun` was asked for. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["TrainingPlan"];
                };
            };
            /** @description Successful Response */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["FineTuneResponse"];
                };
            };
            /** @description Every error has this body. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    listChatModels: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ChatModels"];
                };
            };
            /** @description Every error has this body. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    listWebhooks: {
        parameters: {
            query?: {
                /** @description Most items to answer. */
                limit?: number;
                /** @description How many of the newest items to leave out. */
                offset?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Webhook"][];
                };
            };
            /** @description Every error has this body. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    createWebhook: {
        parameters: {
            query?: never;
            header?: {
                /** @description A repetition with the same key is answered as the first request was, and changes nothing; with another body it is refused. */
                "Idempotency-Key"?: string | null;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["WebhookRequest"];
            };
        };
        responses: {
            /** @description Successful Response */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["CreatedWebhook"];
                };
            };
            /** @description Every error has this body. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    getWebhook: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                webhook_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Webhook"];
                };
            };
            /** @description Every error has this body. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    deleteWebhook: {
        parameters: {
            query?: never;
            header?: {
                /** @description A repetition with the same key is answered as the first request was, and changes nothing; with another body it is refused. */
                "Idempotency-Key"?: string | null;
            };
            path: {
                webhook_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Message"];
                };
            };
            /** @description Every error has this body. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    listDeliveries: {
        parameters: {
            query?: {
                /** @description Only deliveries of this status. */
                status?: components["schemas"]["DeliveryStatus"] | null;
                /** @description Most items to answer. */
                limit?: number;
                /** @description How many of the newest items to leave out. */
                offset?: number;
            };
            header?: never;
            path: {
                webhook_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Delivery"][];
                };
            };
            /** @description Every error has this body. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    replayDelivery: {
        parameters: {
            query?: never;
            header?: {
                /** @description A repetition with the same key is answered as the first request was, and changes nothing; with another body it is refused. */
                "Idempotency-Key"?: string | null;
            };
            path: {
                webhook_id: string;
                delivery_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Delivery"];
                };
            };
            /** @description Every error has this body. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    enableWebhook: {
        parameters: {
            query?: never;
            header?: {
                /** @description A repetition with the same key is answered as the first request was, and changes nothing; with another body it is refused. */
                "Idempotency-Key"?: string | null;
            };
            path: {
                webhook_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Webhook"];
                };
            };
            /** @description Every error has this body. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    rotateWebhookSecret: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                webhook_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["RotatedSecret"];
                };
            };
            /** @description Every error has this body. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
    testWebhook: {
        parameters: {
            query?: never;
            header?: {
                /** @description A repetition with the same key is answered as the first request was, and changes nothing; with another body it is refused. */
                "Idempotency-Key"?: string | null;
            };
            path: {
                webhook_id: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Delivery"];
                };
            };
            /** @description Every error has this body. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["ErrorBody"];
                };
            };
        };
    };
}
