with connections as (

    select * from {{ ref('dim_connections') }}

),

accounts as (

    select * from {{ ref('dim_accounts') }}

),

accounts_per_customer as (

    select customer_id, count(*) as accounts, count(*) filter (status = 'open') as open_accounts
    from accounts
    group by customer_id

),

connections_per_customer as (

    select
        customer_id,
        bucket,
        count(*) as connections,
        count(*) filter (status = 'active') as active_connections,
        min(created_at) as first_connected_at
    from connections
    group by customer_id, bucket

),

final as (

    select
        connections_per_customer.customer_id,
        connections_per_customer.connections,
        connections_per_customer.active_connections,
        coalesce(accounts_per_customer.accounts, 0) as accounts,
        coalesce(accounts_per_customer.open_accounts, 0) as open_accounts,
        connections_per_customer.first_connected_at,
        connections_per_customer.bucket
    from connections_per_customer
    left join accounts_per_customer on connections_per_customer.customer_id = accounts_per_customer.customer_id

)

select * from final
