{{/* Alerts. Counters are of one process and added up; what comes from the index is the same from each, so the largest. */}}
{{- define "csvd-node.rules" -}}
groups:
  - name: csvd-node
    rules:
      - alert: CsvdStudyFailed
        expr: sum(increase(csvd_studies_failed_total[1h])) > 0
        labels: {severity: warning}
        annotations:
          summary: Studies failed within the last hour and go no further without a person.
      - alert: CsvdQueueAge
        expr: max(csvd_queue_oldest_age_seconds{queue="evaluations"}) > {{ .queueAgeS }}
        for: 5m
        labels: {severity: warning}
        annotations:
          summary: The oldest Study has waited for a worker for {{ "{{ $value | humanizeDuration }}" }}.
      - alert: CsvdQueueFull
        expr: max(csvd_queue_full{queue="evaluations"}) > 0
        for: 5m
        labels: {severity: warning}
        annotations:
          summary: More Studies wait for a worker than backpressure.limit; with backpressure.refuse new ones are refused.
      - alert: CsvdDeliveryLag
        expr: max by (destination) (csvd_delivery_oldest_age_seconds) > {{ .deliveryLagS }}
        for: 5m
        labels: {severity: critical}
        annotations:
          summary: '{{ "{{ $labels.destination }}" }} has waited for results for {{ "{{ $value | humanizeDuration }}" }}.'
      - alert: CsvdCommitmentLag
        expr: max by (destination) (csvd_commitment_oldest_age_seconds) > 86400
        for: 5m
        labels: {severity: warning}
        annotations:
          summary: '{{ "{{ $labels.destination }}" }} has had results for {{ "{{ $value | humanizeDuration }}" }} and does not commit to them.'
      - alert: CsvdDeliveryRefused
        expr: sum by (destination, status) (increase(csvd_delivery_attempts_total{status!~"0000|B000|B006|B007|failed"}[1h])) > 0
        labels: {severity: warning}
        annotations:
          summary: '{{ "{{ $labels.destination }}" }} does not take results (status {{ "{{ $labels.status }}" }}).'
      - alert: CsvdInstancesLost
        expr: sum by (result) (increase(csvd_instances_received_total{result=~"refused|failed"}[1h])) > 0
        labels: {severity: warning}
        annotations:
          summary: 'Instances arrived and were not kept ({{ "{{ $labels.result }}" }}); their sender was told so.'
      - alert: CsvdDiskLow
        expr: min by (instance) (csvd_disk_free_bytes / csvd_disk_size_bytes) * 100 < {{ .diskFreePercent }}
        for: 5m
        labels: {severity: critical}
        annotations:
          summary: Only {{ "{{ $value | humanize }}" }} % of the store's disk are free.
      - alert: CsvdCertificateExpires
        expr: min by (use, part) (csvd_certificate_expiry_timestamp_seconds) - time() < {{ .certificateDays }} * 86400
        for: 5m
        labels: {severity: warning}
        annotations:
          summary: 'The {{ "{{ $labels.part }}" }} of the {{ "{{ $labels.use }}" }} is good for {{ "{{ $value | humanizeDuration }}" }} more; below zero it expired or cannot be read.'
      - alert: CsvdSignOnsRefused
        expr: sum(increase(csvd_sign_ons_refused_total[15m])) > 20
        labels: {severity: warning}
        annotations:
          summary: '{{ "{{ $value | humanize }}" }} attempts to sign on to the pages were refused within 15 minutes; somebody may be guessing.'
      - alert: CsvdIndexUnreachable
        expr: min by (instance) (csvd_index_reachable) == 0
        for: 2m
        labels: {severity: critical}
        annotations:
          summary: '{{ "{{ $labels.instance }}" }} cannot reach the index database.'
      - alert: CsvdNodeAbsent
        expr: absent(csvd_index_reachable)
        for: 5m
        labels: {severity: critical}
        annotations:
          summary: No process of the node answers Prometheus.
{{- end -}}
