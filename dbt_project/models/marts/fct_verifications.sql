with connections as (

    select * from {{ ref('dim_connections') }}

),

-- A verification that ran, and how each of the connections fared in it at all steps together.
verified as (

    select
        results.connection_id,
        verifications.started_at::date as day,
        verifications.verification_id,
        verifications.started_at,
        sum(results.compared)::bigint as compared,
        sum(results.matched)::bigint as matched,
        sum(results.missing)::bigint as missing,
        sum(results.unexpected)::bigint as unexpected,
        sum(results.duplicate)::bigint as duplicate,
        sum(results.mismatched)::bigint as mismatched,
        sum(results.late)::bigint as late,
        sum(results.excluded)::bigint as excluded
    from {{ source('ledgerlake', 'verification_results') }} as results
    inner join {{ source('ledgerlake', 'verifications') }} as verifications
        on results.verification_id = verifications.verification_id
    where verifications.ended_at is not null and verifications.error is null
    group by all

),

-- The day's last word.
last_of_day as (

    select * from verified
    qualify row_number() over (partition by connection_id, day order by started_at desc, verification_id) = 1

),

syncs as (

    select connection_id, ended_at from {{ source('ledgerlake', 'syncs') }} where outcome = 'done'

),

final as (

    select
        last_of_day.day,
        last_of_day.connection_id,
        connections.customer_id,
        connections.provider,
        last_of_day.verification_id,
        last_of_day.compared,
        last_of_day.matched,
        last_of_day.missing,
        last_of_day.unexpected,
        last_of_day.duplicate,
        last_of_day.mismatched,
        last_of_day.late,
        last_of_day.excluded,
        case
            when last_of_day.compared > 0 then
                (
                    (last_of_day.compared - last_of_day.missing - last_of_day.late)::decimal(18, 0) * 1000
                    / last_of_day.compared::decimal(18, 0)
                )::decimal(7, 3)
        end as completeness_per_mille,
        date_diff('second', syncs.ended_at, last_of_day.started_at)::bigint as lag_seconds,
        connections.bucket
    from last_of_day
    inner join connections on last_of_day.connection_id = connections.connection_id
    asof left join syncs
        on last_of_day.connection_id = syncs.connection_id and last_of_day.started_at >= syncs.ended_at

)

select * from final
