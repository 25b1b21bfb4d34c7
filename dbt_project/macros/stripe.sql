{#-
  What one smallest unit of a currency is worth, by Stripe's table (https://docs.stripe.com/currencies): an amount is an
  integer of smallest units. Most currencies have two decimals. ISK and UGX have none, and yet Stripe counts them in
  hundredths, from when they had some (the last two digits are always 00): so they are not in the table. HUF and TWD have
  two, whole ones alone in payouts, which changes nothing here. A currency that is not in the table has two.
-#}
{% macro stripe_unit(currency) -%}
  case upper({{ currency }})
    {%- for code in stripe_decimals(0) %} when '{{ code }}' then 1.000{% endfor -%}
    {%- for code in stripe_decimals(3) %} when '{{ code }}' then 0.001{% endfor %}
    else 0.010
  end::decimal(4, 3)
{%- endmacro %}

{#- The currencies with no and with three decimals: the one table. -#}
{% macro stripe_decimals(decimals) -%}
  {%- set table = {
    0: ["BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV", "XAF", "XOF", "XPF"],
    3: ["BHD", "JOD", "KWD", "OMR", "TND"],
  } -%}
  {{ return(table[decimals]) }}
{%- endmacro %}

{#- An integer of smallest units as money: exact. NULL without a currency, since it is not known what it is worth. -#}
{% macro stripe_money(text, currency) -%}
  if({{ currency }} is null, null, try_cast({{ text }} as decimal(24, 0)) * {{ stripe_unit(currency) }})::decimal(28, 8)
{%- endmacro %}

{#- Seconds since 1970, as text, as a time. -#}
{% macro unix_time(text) -%}
  to_timestamp(try_cast({{ text }} as bigint))
{%- endmacro %}

{#-
  What a subscription's item brings in a month, from its price: see docs/mrr.md. Whole numbers until the last step, then
  rounded half up to 8 decimals: there is no float and no division before that.

  A week is 52/12 of a week a month, a day 365/12. Metered and tiered prices have no amount that is known before they are used.
-#}
{% macro monthly(unit_amount_decimal, currency, quantity, interval, interval_count, usage_type, billing_scheme, divide_by, rounds) -%}
  case
    when {{ usage_type }} = 'metered' or {{ billing_scheme }} = 'tiered' or {{ unit_amount_decimal }} is null then 0
    when {{ interval }} is null then 0
    else
      (
        (
          (try_cast({{ unit_amount_decimal }} as decimal(24, 12)) * 1000000000000::decimal(13, 0))::hugeint
          * (
            case
              when {{ divide_by }} is null then coalesce({{ quantity }}, 1)
              when {{ rounds }} = 'up' then (coalesce({{ quantity }}, 1) + {{ divide_by }} - 1) // {{ divide_by }}
              else coalesce({{ quantity }}, 1) // {{ divide_by }}
            end
          )::hugeint
          * case {{ interval }} when 'week' then 52 when 'day' then 365 else 1 end::hugeint
          * ({{ stripe_unit(currency) }} * 1000)::decimal(4, 0)::hugeint * 2
          + (case {{ interval }} when 'month' then 1 else 12 end * coalesce({{ interval_count }}, 1) * 10000000)::hugeint
        )
        // (case {{ interval }} when 'month' then 1 else 12 end * coalesce({{ interval_count }}, 1) * 20000000)::hugeint
      )::decimal(28, 0) * 0.00000001::decimal(9, 8)
  end::decimal(28, 8)
{%- endmacro %}
