{{ config(bucketed=false) }}

with findings as (

    select * from {{ source('ledgerlake', 'findings') }}

),

connections as (

    select * from {{ everywhere('dim_connections') }}

),

final as (

    select
        findings.finding_id,
        findings.kind,
        findings.step,
        findings.model,
        coalesce(findings.provider, connections.provider) as provider,
        findings.connection_id,
        connections.customer_id,
        findings.stream,
        findings.account_id as provider_account_id,
        findings.field,
        findings.records,
        findings.money::varchar as money_at_risk,
        findings.message,
        findings.severity,
        findings.state as status,
        findings.owner,
        findings.resolution,
        findings.first_seen_at,
        findings.opened_at,
        findings.last_seen_at,
        findings.resolved_at,
        findings.times_opened,
        findings.repairs
    from findings
    left join connections on findings.connection_id = connections.connection_id

)

select * from final
