with invoices as (

    select * from {{ ref('int_stripe_invoices') }} where excluded_because is null

),

final as (

    select
        invoice_key,
        customer_id,
        connection_id,
        provider_invoice_id,
        provider_customer_id,
        provider_subscription_id,
        number,
        status,
        billing_reason,
        collection_method,
        currency,
        subtotal,
        total,
        amount_due,
        amount_paid,
        amount_remaining,
        pre_payment_credit_notes_amount,
        post_payment_credit_notes_amount,
        attempt_count,
        period_starts_at,
        period_ends_at,
        due_at,
        finalized_at,
        paid_at,
        marked_uncollectible_at,
        voided_at,
        created_at,
        first_synced_at,
        synced_at,
        bucket
    from invoices

)

select * from final
