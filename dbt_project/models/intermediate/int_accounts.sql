-- Every account of every provider in one shape. The next provider's accounts are one more step here.
with teller as (

    select
        bucket,
        'teller' as provider,
        connection_id,
        provider_account_id,
        name,
        case when type in ('depository', 'credit') then type else 'other' end as kind,
        subtype,
        currency,
        status = 'closed' as is_closed,
        institution_name,
        is_readable,
        synced_at,
        removed_at
    from {{ ref('stg_teller__accounts') }}

),

plaid as (

    select
        bucket,
        'plaid' as provider,
        connection_id,
        provider_account_id,
        name,
        case
            when type in ('depository', 'credit', 'loan', 'investment') then type
            when type = 'brokerage' then 'investment'
            else 'other'
        end as kind,
        subtype,
        currency,
        -- A closed account is no longer listed: it has vanished.
        false as is_closed,
        null::varchar as institution_name,
        is_readable,
        synced_at,
        removed_at
    from {{ ref('stg_plaid__accounts') }}

),

stripe as (

    select
        bucket,
        'stripe' as provider,
        connection_id,
        provider_account_id,
        name,
        'other' as kind,
        type as subtype,
        currency,
        false as is_closed,
        'Stripe' as institution_name,
        is_readable,
        synced_at,
        removed_at
    from {{ ref('stg_stripe__accounts') }}

),

gocardless as (

    -- GoCardless names the institution by its id alone.
    select
        bucket,
        'gocardless' as provider,
        connection_id,
        provider_account_id,
        name,
        kind,
        subtype,
        currency,
        false as is_closed,
        institution_id as institution_name,
        is_readable,
        synced_at,
        removed_at
    from {{ ref('int_gocardless__accounts') }}

),

tink_currencies as (

    -- An account at Tink has no currency of its own where its balances are not shown: then its amounts tell, if of one mind.
    select connection_id, provider_account_id, min(currency) as currency
    from (
        select connection_id, provider_account_id, currency from {{ ref('stg_tink__balances') }}
        union all
        select connection_id, provider_account_id, currency from {{ ref('stg_tink__transactions') }}
    )
    where currency is not null
    group by all
    having count(distinct currency) = 1

),

tink as (

    select
        accounts.bucket,
        'tink' as provider,
        accounts.connection_id,
        accounts.provider_account_id,
        accounts.name,
        case
            when accounts.type = 'CREDIT_CARD' then 'credit'
            when accounts.type in ('CHECKING', 'SAVINGS') then 'depository'
            else 'other'
        end as kind,
        lower(accounts.type) as subtype,
        coalesce(accounts.currency, tink_currencies.currency) as currency,
        -- A closed account is no longer listed: it has vanished.
        false as is_closed,
        null::varchar as institution_name,
        accounts.is_readable,
        accounts.synced_at,
        accounts.removed_at
    from {{ ref('stg_tink__accounts') }} as accounts
    left join tink_currencies
        on accounts.connection_id = tink_currencies.connection_id
        and accounts.provider_account_id = tink_currencies.provider_account_id

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
