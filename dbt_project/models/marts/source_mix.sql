{{ config(bucketed=false) }}

with connections as (

    select * from {{ everywhere('dim_connections') }}

),

-- The next provider's kind is one more line here.
kinds as (

    select * from (values ('teller', 'bank'), ('tink', 'bank'), ('plaid', 'bank'), ('gocardless', 'bank'), ('stripe', 'billing'))
        as kinds(provider, kind)

),

-- When a customer had a kind of source: from its first connection until the last one of it is gone.
periods as (

    select
        connections.customer_id,
        kinds.kind,
        min(connections.created_at)::date as from_day,
        max(if(connections.status = 'gone', connections.status_since::date, 'infinity'::date)) as until_day
    from connections
    inner join kinds on connections.provider = kinds.provider
    group by all

),

span as (

    select min(created_at)::date as first_day, max(greatest(created_at, coalesce(last_synced_at, created_at)))::date as last_day
    from connections

),

days as (

    select unnest(generate_series(first_day, last_day, interval 1 day))::date as day
    from span

),

mixes as (

    select
        days.day,
        periods.customer_id,
        string_agg(periods.kind, '+' order by periods.kind) as combination,
        list(periods.kind) as kinds
    from days
    inner join periods on days.day >= periods.from_day and days.day < periods.until_day
    group by all

),

nexts as (

    select mixes.day, mixes.customer_id, mixes.combination, arg_min(periods.kind, (periods.from_day, periods.kind)) as next_kind
    from mixes
    left join periods
        on mixes.customer_id = periods.customer_id
        and periods.from_day > mixes.day
        and not list_contains(mixes.kinds, periods.kind)
    group by all

),

final as (

    select day, combination, next_kind, count(*) as customers
    from nexts
    group by all

)

select * from final
