-- Every account of every provider in one shape. The next provider's accounts are one more step here.
{%- set shape = [
    'bucket', 'connection_id', 'provider_account_id', 'name', 'kind', 'subtype', 'currency', 'is_closed', 'institution_name',
    'is_readable', 'synced_at', 'removed_at',
] %}

with teller as (

    {{ shaped(shape, 'teller', ref('stg_teller__accounts'), {
        'kind': "case when type in ('depository', 'credit') then type else 'other' end",
        'is_closed': "status = 'closed'",
    }) }}

),

plaid as (

    -- A closed account is no longer listed: it has vanished.
    {{ shaped(shape, 'plaid', ref('stg_plaid__accounts'), {
        'kind': "case
            when type in ('depository', 'credit', 'loan', 'investment') then type
            when type = 'brokerage' then 'investment'
            else 'other'
        end",
        'is_closed': 'false',
        'institution_name': 'null::varchar',
    }) }}

),

stripe as (

    {{ shaped(shape, 'stripe', ref('stg_stripe__accounts'), {
        'kind': "'other'", 'subtype': 'type', 'is_closed': 'false', 'institution_name': "'Stripe'"
    }) }}

),

gocardless as (

    -- GoCardless names the institution by its id alone.
    {{ shaped(shape, 'gocardless', ref('int_gocardless__accounts'), {
        'is_closed': 'false', 'institution_name': 'institution_id'
    }) }}

),

tink_currencies as (

    -- An account at Tink has no currency of its own where its balances are not shown: then its amounts tell, if of one mind.
    select connection_id, provider_account_id, min(currency) as told_currency
    from (
        select connection_id, provider_account_id, currency from {{ ref('stg_tink__balances') }}
        union all
        select connection_id, provider_account_id, currency from {{ ref('stg_tink__transactions') }}
    )
    where currency is not null
    group by all
    having count(distinct currency) = 1

),

tink_accounts as (

    select * from {{ ref('stg_tink__accounts') }} left join tink_currencies using (connection_id, provider_account_id)

),

tink as (

    -- A closed account is no longer listed: it has vanished.
    {{ shaped(shape, 'tink', 'tink_accounts', {
        'kind': "case
            when type = 'CREDIT_CARD' then 'credit'
            when type in ('CHECKING', 'SAVINGS') then 'depository'
            else 'other'
        end",
        'subtype': 'lower(type)',
        'currency': 'coalesce(currency, told_currency)',
        'is_closed': 'false',
        'institution_name': 'null::varchar',
    }) }}

),

unioned as (

    select * from teller
    union all by name
    select * from plaid
    union all by name
    select * from stripe
    union all by name
    select * from gocardless
    union all by name
    select * from tink

),

connections as (

    select * from {{ source('ledgerlake', 'connections') }}

),

states as (

    select * from {{ source('ledgerlake', 'accounts') }}

),

joined as (

    select
        unioned.bucket,
        {{ account_key('unioned.connection_id', 'unioned.provider_account_id') }} as account_key,
        connections.customer_id,
        unioned.provider,
        unioned.connection_id,
        unioned.provider_account_id,
        unioned.name,
        unioned.kind,
        unioned.subtype,
        unioned.currency,
        case
            when connections.state = 'gone' then 'gone'
            when states.state = 'vanished' or unioned.removed_at is not null then 'vanished'
            when states.state = 'closed' or unioned.is_closed then 'closed'
            else 'open'
        end as status,
        coalesce(unioned.institution_name, connections.institution_name) as institution_name,
        unioned.synced_at,
        case
            when connections.connection_id is null then 'unknown_connection'
            when not unioned.is_readable then 'unreadable'
        end as excluded_because
    from unioned
    left join connections on unioned.connection_id = connections.connection_id
    left join states
        on unioned.connection_id = states.connection_id and unioned.provider_account_id = states.account_id

)

select * from joined
