with transactions as (

    select * from {{ ref('int_transactions') }} where excluded_because is null

),

final as (

    select
        transaction_key,
        account_key,
        customer_id,
        connection_id,
        provider,
        provider_account_id,
        provider_transaction_id,
        status,
        booked_on,
        value_on,
        amount,
        currency,
        description,
        counterparty,
        category,
        first_synced_at,
        synced_at,
        bucket
    from transactions

)

select * from final
