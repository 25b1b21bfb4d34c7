with balance_transactions as (

    select * from {{ ref('int_stripe_balance_transactions') }} where excluded_because is null

),

final as (

    select
        balance_transaction_key,
        customer_id,
        connection_id,
        provider_balance_transaction_id,
        type,
        reporting_category,
        provider_source_id,
        status,
        currency,
        amount,
        fee,
        net,
        exchange_rate,
        available_on,
        created_at,
        first_synced_at,
        synced_at,
        bucket
    from balance_transactions

)

select * from final
