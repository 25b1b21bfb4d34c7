-- Every transaction of every provider in one shape, with the reason why it does not reach fct_transactions, if any.
-- The next provider's transactions are one more step here.
{%- set shape = [
    'bucket', 'connection_id', 'provider_transaction_id', 'provider_account_id', 'status', 'booked_on', 'value_on', 'amount',
    'currency', 'credit_is_owed', 'description', 'counterparty', 'category', 'is_readable', 'first_synced_at', 'synced_at',
    'removed_at', 'removed_reason', 'pending_transaction_id',
] %}

with teller as (

    {{ shaped(shape, 'teller', ref('stg_teller__transactions'), {
        'value_on': 'null::date', 'currency': 'null::varchar', 'credit_is_owed': 'true',
        'pending_transaction_id': 'null::varchar'
    }) }}

),

plaid as (

    -- Positive is money out, for every type of account.
    {{ shaped(shape, 'plaid', ref('stg_plaid__transactions'), {
        'value_on': 'null::date', 'amount': '-amount', 'credit_is_owed': 'false'
    }) }}

),

gocardless as (

    {{ shaped(shape, 'gocardless', ref('int_gocardless__transactions'), {
        'credit_is_owed': 'false', 'category': 'null::varchar', 'pending_transaction_id': 'null::varchar'
    }) }}

),

tink as (

    -- Positive is money in, for every type of account.
    {{ shaped(shape, 'tink', ref('stg_tink__transactions'), {
        'credit_is_owed': 'false', 'pending_transaction_id': 'null::varchar'
    }) }}

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

posted as (

    -- What was pending, where the provider says which one it was: a pending one that it still shows is counted already.
    select distinct connection_id, pending_transaction_id as provider_transaction_id
    from unioned
    where status = 'posted' and removed_at is null and is_readable and booked_on is not null and amount is not null
        and pending_transaction_id is not null

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
            when unioned.status = 'pending' and posted.provider_transaction_id is not null then 'superseded'
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
    left join posted
        on unioned.connection_id = posted.connection_id
        and unioned.provider_transaction_id = posted.provider_transaction_id

)

select * from judged
