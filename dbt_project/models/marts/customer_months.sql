with transactions as (

    -- Pending rows may change or go away, so a month counts what is posted.
    select * from {{ ref('fct_transactions') }} where status = 'posted'

),

balances as (

    select * from {{ ref('fct_balances') }} where booked is not null

),

flows as (

    select
        bucket,
        customer_id,
        currency,
        date_trunc('month', booked_on)::date as month,
        sum(amount) filter (amount > 0) as inflow,
        -sum(amount) filter (amount < 0) as outflow,
        sum(amount) as net
    from transactions
    group by all

),

-- The account's last reading in the month.
closings as (

    select
        bucket,
        customer_id,
        currency,
        date_trunc('month', as_of)::date as month,
        account_key,
        arg_max(booked, as_of) as booked
    from balances
    group by all

),

closing_balances as (

    select bucket, customer_id, currency, month, sum(booked) as closing_balance
    from closings
    group by all

),

final as (

    select
        coalesce(flows.customer_id, closing_balances.customer_id) as customer_id,
        coalesce(flows.month, closing_balances.month) as month,
        coalesce(flows.currency, closing_balances.currency) as currency,
        coalesce(flows.inflow, 0)::decimal(38, 8) as inflow,
        coalesce(flows.outflow, 0)::decimal(38, 8) as outflow,
        coalesce(flows.net, 0)::decimal(38, 8) as net,
        closing_balances.closing_balance::decimal(38, 8) as closing_balance,
        coalesce(flows.bucket, closing_balances.bucket) as bucket
    from flows
    full join closing_balances
        on flows.bucket = closing_balances.bucket
        and flows.customer_id = closing_balances.customer_id
        and flows.month = closing_balances.month
        and flows.currency = closing_balances.currency

)

select * from final
