{#-
  A number of a JSON document as the text that stands there. A JSON reader hands a number on as a double, which keeps 15
  digits; one with more is looked up in the document, as the member `name` whose value the reader took for that double.
-#}
{% macro number_text(payload, name, value) -%}
  if(
    length(replace(replace({{ value }}, '-', ''), '.', '')) > 15,
    coalesce(
      list_filter(
        regexp_extract_all({{ payload }}::varchar, '"{{ name }}"\s*:\s*(-?[0-9][-+.0-9eE]*)', 1),
        lambda text: try_cast(text as double) = try_cast({{ value }} as double)
      )[1],
      {{ value }}
    ),
    {{ value }}
  )
{%- endmacro %}

{#-
  Money of a provider that computes in doubles. What a double adds behind its 15th digit is noise: 0.30000000000000004
  is 0.3, and 1234567890.1000001 is 1234567890.1. An amount that no such noise explains stays as it is.
-#}
{% macro money_of_double(text) -%}
  {%- set exact = money(text) -%}
  if(
    abs({{ exact }}) < 100000000000
      and (abs({{ exact }} - round({{ exact }}, 4)))::decimal(38, 8) * 1000000000000000::decimal(38, 0) <= abs({{ exact }}),
    round({{ exact }}, 4)::decimal(28, 8),
    {{ exact }}
  )
{%- endmacro %}
