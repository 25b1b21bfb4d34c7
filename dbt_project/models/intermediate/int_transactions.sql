-- Every transaction of every provider in one shape, with the reason why it does not reach fct_transactions, if any.
-- The next provider's transactions are one more step here.
with teller as (

    select
        bucket,
        'teller' as provider,
        connection_id,
        provider_transaction_id,
        provider_account_id,
        status,
        booked_on,
        null::date as value_on,
        amount,
        null::varchar as currency,
        true as credit_is_owed,
        description,
        counterparty,
        category,
        is_readable,
        first_synced_at,
        synced_at,
        removed_at,
        removed_reason
    from {{ ref('stg_teller__transactions') }}

),

plaid as (

    -- Positive is money out, for every type of account.
    select
        bucket,
        'plaid' as provider,
        connection_id,
        provider_transaction_id,
        provider_account_id,
        status,
        booked_on,
        null::date as value_on,
        -amount as amount,
        currency,
        false as credit_is_owed,
        description,
        counterparty,
        category,
        is_readable,
        first_synced_at,
        synced_at,
        removed_at,
        removed_reason
    from {{ ref('stg_plaid__transactions') }}

),

gocardless as (

    select
        bucket,
        'gocardless' as provider,
        connection_id,
        provider_transaction_id,
        provider_account_id,
        status,
        booked_on,
        value_on,
        amount,
        currency,
        false as credit_is_owed,
        description,
        counterparty,
        null::varchar as category,
        is_readable,
        first_synced_at,
        synced_at,
        removed_at,
        removed_reason
    from {{ ref('int_gocardless__transactions') }}

),

tink as (

    -- Positive is money in, for every type of account.
    select
        bucket,
        'tink' as provider,
        connection_id,
        provider_transaction_id,
        provider_account_id,
        status,
        booked_on,
        value_on,
        amount,
        currency,
        false as credit_is_owed,
        description,
        counterparty,
        category,
        is_readable,
        first_synced_at,
        synced_at,
        removed_at,
        removed_reason
    from {{ ref('stg_tink__transactions') }}

),

unioned as (

    select * from teller
    union all by name
    select * from plaid
    union all by name
    select * from gocardless
    union all by name
    select * from tink

),

accounts as (

    select * from {{ ref('int_accounts') }} where excluded_because is null

),

judged as (

    select
        unioned.bucket,
        {{ account_key('unioned.connection_id', 'unioned.provider_transaction_id') }} as transaction_key,
        {{ account_key('unioned.connection_id', 'unioned.provider_account_id') }} as account_key,
        accounts.customer_id,
        unioned.provider,
        unioned.connection_id,
        unioned.provider_account_id,
        unioned.provider_transaction_id,
        unioned.status,
        unioned.booked_on,
        unioned.value_on,
        -- Positive is money in. Teller counts what a credit account owes, so a purchase is positive there.
        if(unioned.credit_is_owed and accounts.kind = 'credit', -unioned.amount, unioned.amount) as amount,
        coalesce(unioned.currency, accounts.currency) as currency,
        unioned.description,
        unioned.counterparty,
        unioned.category,
        unioned.first_synced_at,
        unioned.synced_at,
        case
            when unioned.removed_at is not null then coalesce(unioned.removed_reason, 'removed')
            when not unioned.is_readable then 'unreadable'
            when unioned.booked_on is null then 'no_date'
            when unioned.amount is null then 'no_amount'
            when accounts.account_key is null then 'unknown_account'
            when coalesce(unioned.currency, accounts.currency) is null then 'no_currency'
        end as excluded_because
    from unioned
    left join accounts
        on unioned.connection_id = accounts.connection_id
        and unioned.provider_account_id = accounts.provider_account_id

)

select * from judged
