-- Stripe: an amount is an integer of the currency's smallest unit as Stripe counts it: currencies without decimals, and with
-- three, stand in the lists below; ISK and UGX have none and are counted in hundredths. A time is in seconds, UTC.
-- https://docs.stripe.com/currencies, https://docs.stripe.com/api

-- stream: accounts
WITH told AS (
    SELECT connection_id, record_id, try(json_extract_string(payload, ['$.id', '$.default_currency'])) AS told FROM payloads
)
SELECT
    connection_id,
    coalesce(told[1], record_id) AS record_id,
    coalesce(told[1], record_id) AS account_id,
    NULL::DATE AS day,
    NULL::DECIMAL(28, 8) AS source_amount,
    NULL::DECIMAL(28, 8) AS amount,
    upper(told[2]) AS currency,
    false AS pending,
    NULL::DECIMAL(28, 8) AS available
FROM told

-- stream: charges, refunds, disputes, credit_notes, payouts, balance_transactions, invoices, subscriptions
WITH told AS (
    SELECT
        connection_id, record_id, account_id,
        try(json_extract_string(
            payload, ['$.id', '$.created', '$.currency', '$.amount', '$.total', '$.object', '$.status']
        )) AS told
    FROM payloads
),
read AS (
    SELECT
        connection_id, coalesce(told[1], record_id) AS record_id, account_id,
        make_timestamp(try_cast(told[2] AS BIGINT) * 1000000::BIGINT)::DATE AS day,
        upper(told[3]) AS currency,
        CASE told[6] WHEN 'invoice' THEN told[5] WHEN 'subscription' THEN NULL ELSE told[4] END AS minor,
        told[6] = 'balance_transaction' AND told[7] = 'pending' AS pending
    FROM told
),
counted AS (
    SELECT
        *,
        CASE
            WHEN currency IN (
                'BIF', 'CLP', 'DJF', 'GNF', 'JPY', 'KMF', 'KRW', 'MGA', 'PYG', 'RWF', 'VND', 'VUV', 'XAF', 'XOF', 'XPF'
            ) THEN '0'
            WHEN currency IN ('BHD', 'JOD', 'KWD', 'OMR', 'TND') THEN '3'
            WHEN currency IS NOT NULL THEN '2'
        END AS decimals
    FROM read
),
texts AS (
    SELECT *, scaled(minor, decimals) AS main_text FROM counted
),
priced AS (
    SELECT *, exact(main_text) AS main FROM texts
)
SELECT
    connection_id,
    record_id,
    account_id,
    day,
    main AS source_amount,
    main AS amount,
    currency,
    pending,
    NULL::DECIMAL(28, 8) AS available
FROM priced
