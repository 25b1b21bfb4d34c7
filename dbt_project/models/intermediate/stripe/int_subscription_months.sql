-- What each subscription brings at the end of each month, from its first to the last one known: docs/mrr.md defines it.
{%- set item = '{"quantity": "VARCHAR", "price": {
                "currency": "VARCHAR", "unit_amount_decimal": "VARCHAR", "billing_scheme": "VARCHAR",
                "transform_quantity": {"divide_by": "VARCHAR", "round": "VARCHAR"},
                "recurring": {"interval": "VARCHAR", "interval_count": "VARCHAR", "usage_type": "VARCHAR"}
            }}' %}

with subscriptions as (

    select * from {{ ref('int_stripe_subscriptions') }} where excluded_because is null

),

items as (

    select * from {{ ref('stg_stripe__subscription_items') }} where removed_at is null and is_readable

),

events as (

    select * from {{ ref('stg_stripe__events') }} where removed_at is null and is_readable

),

-- Until when a customer's history is known, by Stripe's clock.
clocks as (

    select subscriptions.customer_id, max(greatest(subscriptions.created_at, coalesce(events.created_at, subscriptions.created_at))) as as_of
    from subscriptions
    left join (select connection_id, max(created_at) as created_at from events group by connection_id) as events
        on subscriptions.connection_id = events.connection_id
    group by subscriptions.customer_id

),

changes as (

    select
        events.connection_id,
        events.object_id as provider_subscription_id,
        events.provider_event_id,
        events.type,
        events.created_at,
        -- Events of one second come in any order.
        case events.type when 'customer.subscription.created' then 0 when 'customer.subscription.deleted' then 2 else 1 end as place,
        try(from_json(events.document, '{"data": {
            "object": {"status": "VARCHAR", "pause_collection": "JSON", "items": {"data": [{{ item }}]}},
            "previous_attributes": {"status": "VARCHAR", "pause_collection": "JSON", "items": {"data": [{{ item }}]}}
        }}')) as fields
    from events
    where events.document is not null and events.object_id is not null

),

ordered as (

    select
        *,
        row_number() over (
            partition by connection_id, provider_subscription_id order by created_at, place, provider_event_id
        ) as turn
    from changes
    where fields is not null

),

now_items as (

    select
        connection_id,
        provider_subscription_id,
        list({
            'quantity': quantity::varchar,
            'price': {
                'currency': currency,
                'unit_amount_decimal': unit_amount_decimal,
                'billing_scheme': billing_scheme,
                'transform_quantity': {'divide_by': divide_by::varchar, 'round': rounds},
                'recurring': {'interval': interval, 'interval_count': interval_count::varchar, 'usage_type': usage_type}
            }
        }) as items
    from items
    group by all

),

-- What a subscription was, from when on. The state before its first event is that event's, undone.
states as (

    select
        connection_id, provider_subscription_id, created_at as since, turn,
        fields.data.object.status as status,
        fields.data.object.pause_collection::varchar as pause_collection,
        fields.data.object.items.data as items
    from ordered

    union all

    select
        connection_id, provider_subscription_id, '-infinity'::timestamptz as since, 0 as turn,
        coalesce(fields.data.previous_attributes.status, fields.data.object.status) as status,
        coalesce(fields.data.previous_attributes.pause_collection, fields.data.object.pause_collection)::varchar as pause_collection,
        coalesce(fields.data.previous_attributes.items.data, fields.data.object.items.data) as items
    from ordered
    where turn = 1 and type <> 'customer.subscription.created'

    union all

    -- The object itself is what holds now, and what held always where no event tells otherwise.
    select
        subscriptions.connection_id,
        subscriptions.provider_subscription_id,
        if(told.provider_subscription_id is null, '-infinity'::timestamptz, clocks.as_of) as since,
        1000000000 as turn,
        subscriptions.status,
        if(subscriptions.is_collection_paused, '{}', null) as pause_collection,
        now_items.items
    from subscriptions
    inner join clocks on subscriptions.customer_id = clocks.customer_id
    left join now_items
        on subscriptions.connection_id = now_items.connection_id
        and subscriptions.provider_subscription_id = now_items.provider_subscription_id
    left join (select distinct connection_id, provider_subscription_id from ordered) as told
        on subscriptions.connection_id = told.connection_id
        and subscriptions.provider_subscription_id = told.provider_subscription_id

),

months as (

    select
        subscriptions.bucket,
        subscriptions.customer_id,
        subscriptions.connection_id,
        subscriptions.provider_customer_id,
        subscriptions.provider_subscription_id,
        subscriptions.currency,
        subscriptions.ended_at,
        subscriptions.trial_ends_at,
        coalesce(subscriptions.started_at, subscriptions.created_at) as started_at,
        month::date as month,
        -- The end of the month, or of what is known of it.
        least(month + interval 1 month, clocks.as_of + interval 1 microsecond) as until
    from subscriptions
    inner join clocks on subscriptions.customer_id = clocks.customer_id
    cross join unnest(generate_series(
        date_trunc('month', coalesce(subscriptions.started_at, subscriptions.created_at)),
        date_trunc('month', clocks.as_of),
        interval 1 month
    )) as series(month)
    where subscriptions.currency is not null and subscriptions.provider_customer_id is not null

),

snapshots as (

    select
        months.bucket, months.customer_id, months.connection_id, months.provider_customer_id,
        months.provider_subscription_id, months.currency, months.month,
        any_value(
            months.started_at < months.until
            and (months.ended_at is null or months.ended_at >= months.until)
            and (months.trial_ends_at is null or months.trial_ends_at < months.until)
        ) as is_running,
        arg_max(states.status, (states.since, states.turn)) as status,
        arg_max(coalesce(states.pause_collection, 'null'), (states.since, states.turn)) as pause_collection,
        arg_max(coalesce(states.items, []), (states.since, states.turn)) as items
    from months
    left join states
        on months.connection_id = states.connection_id
        and months.provider_subscription_id = states.provider_subscription_id
        and states.since < months.until
    group by all

),

-- A state that is canceled or trialing at a time when the subscription's dates say that it runs is one of another time.
priced as (

    select
        * exclude (items, status, pause_collection, is_running),
        coalesce(
            is_running and status in ('active', 'past_due', 'canceled', 'trialing') and pause_collection = 'null', false
        ) as counts,
        unnest(if(len(items) = 0, [null], items)) as item
    from snapshots

),

final as (

    select
        bucket,
        customer_id,
        connection_id,
        provider_customer_id,
        provider_subscription_id,
        month,
        currency,
        coalesce(sum({{ monthly(
            'item.price.unit_amount_decimal', 'item.price.currency', 'try_cast(item.quantity as bigint)',
            'item.price.recurring.interval', 'try_cast(item.price.recurring.interval_count as bigint)',
            'item.price.recurring.usage_type', 'item.price.billing_scheme',
            'try_cast(item.price.transform_quantity.divide_by as bigint)', 'item.price.transform_quantity.round'
        ) }}) filter (counts), 0)::decimal(28, 8) as mrr
    from priced
    group by all

)

select * from final
