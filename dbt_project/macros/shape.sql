{#-
  A provider's rows in the shape that all providers share: its columns as they are called there, but for those that
  `given` makes of something else.
-#}
{% macro shaped(shape, provider, relation, given={}) -%}
  select
        '{{ provider }}' as provider
        {%- for column in shape %},
        {{ given[column] ~ ' as ' if column in given }}{{ column }}
        {%- endfor %}
    from {{ relation }}
{%- endmacro %}
