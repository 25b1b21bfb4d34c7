with subscribers as (

    -- A business's subscriber with all that they subscribe to in a currency.
    select
        bucket,
        customer_id,
        connection_id,
        provider_customer_id,
        month,
        currency,
        sum(mrr) as ending
    from {{ ref('int_subscription_months') }}
    group by all

),

compared as (

    select
        *,
        coalesce(lag(ending) over history, 0) as starting,
        coalesce(max(ending) over (history rows between unbounded preceding and 1 preceding), 0) > 0 as has_paid
    from subscribers
    window history as (partition by bucket, connection_id, provider_customer_id, currency order by month)

),

final as (

    select
        customer_id,
        month,
        currency,
        sum(starting)::decimal(38, 8) as starting,
        sum(if(starting = 0 and not has_paid, ending, 0))::decimal(38, 8) as new,
        sum(if(starting > 0 and ending > starting, ending - starting, 0))::decimal(38, 8) as expansion,
        sum(if(ending > 0 and ending < starting, ending - starting, 0))::decimal(38, 8) as contraction,
        sum(if(starting > 0 and ending = 0, -starting, 0))::decimal(38, 8) as churn,
        sum(if(starting = 0 and has_paid, ending, 0))::decimal(38, 8) as reactivation,
        sum(ending)::decimal(38, 8) as ending,
        count(*) filter (ending > 0) as subscribers,
        bucket
    from compared
    group by customer_id, month, currency, bucket

)

select * from final
