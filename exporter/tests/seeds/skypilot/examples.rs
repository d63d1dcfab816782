//! The page's examples, with stand-ins for what they call.

use super::{bench, until};
use crate::stand_in::{program, run_with};

/// An example of the page: one entry, the event that it is tried with, and what it calls.
struct Example {
    entry: &'static str,
    event: &'static str,
    calls: &'static [&'static str],
}

/// The programs that the examples call.
const PROGRAMS: [&str; 8] =
    ["git", "cp", "aws", "gcloud", "wandb", "mail", "curl", "huggingface-cli"];

const QUICK_START: Example = Example {
    entry: r#"  - run: |
      cd my-code-base
      git add .
      git commit -m "Commit my code"
      git push
"#,
    event: "down",
    calls: &["<git><add><.>", "<git><commit><-m><Commit my code>", "<git><push>"],
};

const CODE: Example = Example {
    entry: r#"  - run: |
      cd my-code-base
      git add .
      git commit -m "Auto-commit before shutdown"
      git push
    events: [stop]
"#,
    event: "stop",
    calls: &["<git><add><.>", "<git><commit><-m><Auto-commit before shutdown>", "<git><push>"],
};

const CHECKPOINTS: Example = Example {
    entry: "  - run: |
      # Save checkpoints to a mounted volume or cloud storage
      cp -r /workspace/checkpoints/* /mnt/persistent-storage/checkpoints/
      # Or upload to S3
      aws s3 sync /workspace/checkpoints/ s3://my-bucket/checkpoints/
    events: [stop, preemption]
    timeout: 120
",
    event: "preemption",
    calls: &[
        "<cp><-r></workspace/checkpoints/*></mnt/persistent-storage/checkpoints/>",
        "<aws><s3><sync></workspace/checkpoints/><s3://my-bucket/checkpoints/>",
    ],
};

const LOGS: Example = Example {
    entry: "  - run: |
      aws s3 sync /workspace/logs/ s3://my-bucket/logs/$(date +%Y%m%d)/
      gcloud storage cp -r /workspace/results/ gs://my-bucket/results/$(date +%Y%m%d)/
",
    event: "down",
    calls: &[
        "<aws><s3><sync></workspace/logs/><s3://my-bucket/logs/20250813/>",
        "<gcloud><storage><cp><-r></workspace/results/><gs://my-bucket/results/20250813/>",
    ],
};

const RUNS: Example = Example {
    entry: "  - run: |
      # Sync W&B runs to the cloud before shutdown
      wandb sync ./wandb
      # Or sync a specific run
      # wandb sync ./wandb/run-20250813_124246-n67z9ude
    events: [stop, preemption]
",
    event: "preemption",
    calls: &["<wandb><sync><./wandb>"],
};

const NOTIFICATIONS: Example = Example {
    entry: r#"  - run: |
      echo "Cluster shutting down" | \
        mail -s "Cluster Autostop" user@example.com
      curl -X POST -H 'Content-type: application/json' \
        --data '{"text":"Cluster shutting down"}' \
        https://hooks.slack.com/services/YOUR/WEBHOOK/URL
"#,
    event: "stop",
    calls: &[
        "<mail><-s><Cluster Autostop><user@example.com>",
        r#"<curl><-X><POST><-H><Content-type: application/json><--data><{"text":"Cluster shutting down"}><https://hooks.slack.com/services/YOUR/WEBHOOK/URL>"#,
    ],
};

const WORKFLOW: Example = Example {
    entry: r#"  - run: |
      curl -X POST https://airflow.example.com/api/v1/dags/model_eval/dag_runs \
        -H "Content-Type: application/json" \
        -d '{"conf": {"model_path": "s3://my-bucket/models/v1"}}'
    events: [stop]
"#,
    event: "stop",
    calls: &[
        r#"<curl><-X><POST><https://airflow.example.com/api/v1/dags/model_eval/dag_runs><-H><Content-Type: application/json><-d><{"conf": {"model_path": "s3://my-bucket/models/v1"}}>"#,
    ],
};

const MODEL: Example = Example {
    entry: "  - run: |
      # Upload the trained model to Hugging Face Hub
      huggingface-cli upload my-org/my-model /workspace/model-output .
    events: [stop]
",
    event: "stop",
    calls: &["<huggingface-cli><upload><my-org/my-model></workspace/model-output><.>"],
};

async fn try_out(example: Example) {
    let Example { entry, event, calls } = example;
    let bench = bench(entry);
    std::fs::create_dir(bench.file("my-code-base")).unwrap();
    program(&bench, "bin/date", "#!/bin/sh\n[ \"$*\" = +%Y%m%d ] && echo 20250813\n");
    assert_eq!(until(event, &bench, run_with(&bench, &PROGRAMS)).await.code(), Some(0));
    assert_eq!(bench.lines("called"), calls);
    assert_eq!(bench.count(event), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_quick_start_commits_and_pushes() {
    try_out(QUICK_START).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn code_is_committed_on_stop() {
    try_out(CODE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn checkpoints_are_saved_on_preemption() {
    try_out(CHECKPOINTS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_and_results_are_uploaded() {
    try_out(LOGS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_are_synced() {
    try_out(RUNS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn notifications_are_sent() {
    try_out(NOTIFICATIONS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_is_triggered() {
    try_out(WORKFLOW).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_is_pushed() {
    try_out(MODEL).await;
}
