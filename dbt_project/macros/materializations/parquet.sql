{#-
  One Parquet file a bucket, written aside, and a view over the files of this build.

  The plugin (ledgerlake/lake/dbt_plugin.py) makes the schema `build`: `plan` says where files go, which buckets
  are built and which PostgreSQL snapshot all sources are read at; `files` takes down what was written. While a
  model is built the session variable `bucket` is set, so that sources and upstream models show that bucket
  alone; unset, they show all buckets of this build, which is what tests read.

  Config: bucketed (true): false for a model over all customers; it has one file, and reads its upstreams with
  `everywhere()`.
-#}
{% materialization parquet, adapter='duckdb', supported_languages=['sql'] %}
  {%- set bucketed = config.get('bucketed', true) -%}
  {%- set target_relation = this.incorporate(type='view') -%}

  {{ run_hooks(pre_hooks, inside_transaction=False) }}
  {{ ledgerlake.require_upstreams() }}
  {%- set plan = ledgerlake.build_plan() -%}
  {{ ledgerlake.pin_snapshot(plan) }}
  {{ run_hooks(pre_hooks, inside_transaction=True) }}
  {%- set columns = ledgerlake.contract_columns(sql) -%}

  {%- set folder = plan.prefix ~ '/' ~ this.schema ~ '/' ~ this.identifier ~ '/' -%}
  {%- set ns = namespace(rows=0) -%}
  {%- set files, written = [], [] -%}
  {% for bucket in (plan.buckets if bucketed else [none]) %}
    {%- set path = folder ~ ('all' if bucket is none else bucket) ~ '.parquet' -%}
    {% call statement('copy', fetch_result=True) %}
      {{ ledgerlake.set_bucket(bucket) }};
      copy (
        select {{ columns | join(', ') }} from ({{ sql }})
      ) to '{{ path }}' (format parquet, compression zstd)
    {% endcall %}
    {%- set rows = load_result('copy')['data'][0][0] | int -%}
    {%- set ns.rows = ns.rows + rows -%}
    {% do files.append(path) %}
    {% do written.append(
      "('" ~ this.schema ~ "', '" ~ this.identifier ~ "', " ~ ('null' if bucket is none else bucket) ~ ", '" ~ path ~ "', " ~ rows ~ ")"
    ) %}
  {% endfor %}

  {% call statement('show') %}
    {{ ledgerlake.set_bucket(none) }};
    insert into build.files values {{ written | join(', ') }};
    create or replace view {{ target_relation }} as
    {% if bucketed %}
      select * from read_parquet(
        case when getvariable('bucket') is null then {{ files }}
        else ['{{ folder }}' || getvariable('bucket') || '.parquet'] end
      );
    {% else %}
      select * from read_parquet({{ files }});
    {% endif %}
    create or replace view everywhere.{{ this.identifier }} as
    select * from read_parquet({{ files }})
    {% if bucketed and ledgerlake.is_published(this) %}
      union all by name
      select * from lake.{{ this.schema }}.{{ this.identifier }} where bucket not in ({{ plan.buckets | join(', ') }})
    {% endif %}
  {% endcall %}

  {{ run_hooks(post_hooks, inside_transaction=True) }}
  {% call noop_statement('main', 'OK ' ~ ns.rows ~ ' rows', 'OK', ns.rows) %}{% endcall %}
  {{ adapter.commit() }}
  {{ run_hooks(post_hooks, inside_transaction=False) }}
  {{ return({'relations': [target_relation]}) }}
{% endmaterialization %}


{#- Where this build writes, what it builds and what it reads from. -#}
{% macro build_plan() -%}
  {%- set row = run_query("select prefix, snapshot, array_to_string(buckets, ',') from build.plan").rows[0] -%}
  {%- set buckets = [] -%}
  {%- for bucket in (row[2] | string).split(',') -%}{%- do buckets.append(bucket | int) -%}{%- endfor -%}
  {{ return({'prefix': row[0], 'snapshot': row[1], 'buckets': buckets}) }}
{%- endmacro %}


{#- Every model and test reads PostgreSQL as it was when the build began: one snapshot for all of them. -#}
{% macro pin_snapshot(plan=none) -%}
  {%- set sources = [] -%}
  {%- for id in model.depends_on.nodes if id.startswith('source.') -%}{%- do sources.append(id) -%}{%- endfor -%}
  {%- if sources -%}
    {% call statement('pin_snapshot') %}
      call postgres_execute('pg', $$set transaction snapshot '{{ (plan or ledgerlake.build_plan()).snapshot }}'$$)
    {% endcall %}
  {%- endif -%}
{%- endmacro %}


{#- The SQL that shows one bucket to what follows it, or all of them. -#}
{% macro set_bucket(bucket) -%}
  {%- if bucket is none -%} reset variable bucket {%- else -%} set variable bucket = {{ bucket }}::smallint {%- endif -%}
{%- endmacro %}


{% macro is_published(relation) -%}
  {{ return(run_query(
    "select 1 from build.published where schema_name = '" ~ relation.schema ~ "' and table_name = '" ~ relation.identifier ~ "'"
  ).rows | length > 0) }}
{%- endmacro %}


{#- Published, or of a provider that has no connection: then it is there, and empty. -#}
{% macro is_readable(node) -%}
  {{ return(run_query(
    "select 1 from (from build.published union all from build.absent) where schema_name = '" ~ node.schema
    ~ "' and table_name = '" ~ node.alias ~ "'"
  ).rows | length > 0) }}
{%- endmacro %}


{#- An upstream that this invocation does not build comes from the published lake. -#}
{% macro require_upstreams() -%}
  {%- if execute -%}
    {%- set missing = [] -%}
    {%- for id in model.depends_on.nodes if id.startswith('model.') and id not in selected_resources -%}
      {%- set node = graph.nodes[id] -%}
      {%- if not ledgerlake.is_readable(node) -%}
        {%- do missing.append(node.name) -%}
      {%- endif -%}
    {%- endfor -%}
    {%- if missing -%}
      {{ exceptions.raise_compiler_error(
        model.name ~ " reads " ~ missing | join(', ') ~ ", which this run does not build and the lake does not hold yet. "
        ~ "Run `dbt build -s +" ~ model.name ~ "`, or publish everything once with `ledgerlake build`."
      ) }}
    {%- endif -%}
  {%- endif -%}
{%- endmacro %}


{#-
  The columns of the contract, in its order; an error names every difference. dbt's own check compares the names
  of types, in which DECIMAL(28,8) equals DECIMAL(18,3).
-#}
{% macro contract_columns(sql) -%}
  {%- set found = {} -%}
  {%- for row in run_query("describe " ~ sql).rows -%}{%- do found.update({row[0]: row[1]}) -%}{%- endfor -%}
  {%- set wrong = [] -%}
  {%- for column in model.columns.values() -%}
    {%- set expected = column.data_type | upper -%}
    {%- if column.name not in found -%}
      {%- do wrong.append(column.name ~ ": expected " ~ expected ~ ", the model has no such column") -%}
    {%- elif found[column.name] != expected -%}
      {%- do wrong.append(column.name ~ ": expected " ~ expected ~ ", the model gives " ~ found[column.name]) -%}
    {%- endif -%}
  {%- endfor -%}
  {%- for name in found if name not in model.columns -%}
    {%- do wrong.append(name ~ ": the contract has no such column; describe it in the model's yml") -%}
  {%- endfor -%}
  {%- if wrong -%}
    {{ exceptions.raise_compiler_error("The contract of " ~ model.name ~ " is broken. " ~ wrong | join('; ') ~ ".") }}
  {%- endif -%}
  {{ return(model.columns.keys() | list) }}
{%- endmacro %}


{#- A model of all customers: the buckets of this build, and the published ones of all other buckets. -#}
{% macro everywhere(name) -%}
  {%- set _ = ref(name) -%}
  everywhere.{{ name }}
{%- endmacro %}


{#- A test sees all buckets of the build, and PostgreSQL at the build's snapshot. -#}
{% macro duckdb__get_test_sql(main_sql, fail_calc, warn_if, error_if, limit) -%}
  {%- if execute -%}
    {{ ledgerlake.pin_snapshot() }}
    {% call statement('all_buckets') %}{{ ledgerlake.set_bucket(none) }}{% endcall %}
  {%- endif -%}
  {{ default__get_test_sql(main_sql, fail_calc, warn_if, error_if, limit) }}
{%- endmacro %}
