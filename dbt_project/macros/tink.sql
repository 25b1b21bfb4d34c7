{#-
  Money of Tink: unscaledValue x 10^-scale, two integers as text. The point is moved in the text, since a power of ten
  would be a double; a scale of any sign. Text that is no such number gives NULL.
-#}
{% macro money_of_scaled(unscaled, scale) -%}
  {%- set places = "try_cast(" ~ scale ~ " as integer)" -%}
  {%- set digits = "ltrim(" ~ unscaled ~ ", '-')" -%}
  {%- set padded = "lpad(" ~ digits ~ ", greatest(length(" ~ digits ~ "), " ~ places ~ " + 1)::integer, '0')" -%}
  case
    when not regexp_full_match({{ unscaled }}, '-?[0-9]+') or abs({{ places }}) > 999 then null
    when {{ places }} > 0 then try_cast(
      if({{ unscaled }} like '-%', '-', '') || left({{ padded }}, length({{ padded }}) - {{ places }})
        || '.' || rtrim(right({{ padded }}, {{ places }}), '0') || '0'
      as decimal(28, 8))
    else try_cast({{ unscaled }} || repeat('0', -{{ places }}) as decimal(28, 8))
  end
{%- endmacro %}
