import type { VNode } from "preact";
import type { Settings } from "./session/document.ts";
import { SCHEMES } from "./session/schemes.ts";

/** Tokens that may stay exact. */
const WINDOWS: readonly number[] = [0, 16, 64, 128];
const SINKS: readonly number[] = [0, 1, 4, 16];

/** The settings of the coded cache, which may change at any time. */
export function SettingsForm(
  { settings, schemes, idle, onChange }: {
    readonly settings: Settings;
    /** Schemes that can be chosen. */
    readonly schemes: readonly string[];
    /** Whether nothing can be done. */
    readonly idle: boolean;
    readonly onChange: (settings: Settings) => void;
  },
): VNode {
  const { scheme, window, sinks, draws, ownText } = settings;
  const exact = scheme === "f16";
  return (
    <fieldset class="settings" disabled={idle}>
      <legend>The second cache</legend>
      <label class="wide">
        Scheme
        <select
          value={scheme}
          onChange={({ currentTarget }) => onChange({ ...settings, scheme: currentTarget.value })}
        >
          {SCHEMES.filter(({ id }) => schemes.includes(id)).map(({ id, label }) => (
            <option key={id} value={id}>{id}: {label}</option>
          ))}
        </select>
      </label>
      <Steps
        label="Recent tokens kept exact"
        choices={WINDOWS}
        value={window}
        disabled={exact}
        onChange={(window) => onChange({ ...settings, window })}
      />
      <Steps
        label="First tokens kept exact"
        choices={SINKS}
        value={sinks}
        disabled={exact}
        onChange={(sinks) => onChange({ ...settings, sinks })}
      />
      <label>
        It reads
        <select
          value={ownText ? "own" : "same"}
          onChange={({ currentTarget }) =>
            onChange({ ...settings, ownText: currentTarget.value === "own" })}
        >
          <option value="same">the text of f16</option>
          <option value="own">its own text</option>
        </select>
      </label>
      <label>
        Both take
        <select
          value={draws ? "drawn" : "likeliest"}
          onChange={({ currentTarget }) =>
            onChange({ ...settings, draws: currentTarget.value === "drawn" })}
        >
          <option value="drawn">tokens drawn at random</option>
          <option value="likeliest">the likeliest token</option>
        </select>
      </label>
    </fieldset>
  );
}

/** A slider over a few numbers. */
function Steps(
  { label, choices, value, disabled, onChange }: {
    readonly label: string;
    readonly choices: readonly number[];
    readonly value: number;
    readonly disabled: boolean;
    readonly onChange: (value: number) => void;
  },
): VNode {
  return (
    <label class="steps">
      <span>
        {label}
        <b aria-hidden="true">{value}</b>
      </span>
      <input
        type="range"
        min={0}
        max={choices.length - 1}
        step={1}
        value={Math.max(0, choices.indexOf(value))}
        aria-label={label}
        aria-valuetext={`${value} tokens`}
        disabled={disabled}
        onInput={({ currentTarget }) => onChange(choices[currentTarget.valueAsNumber]!)}
      />
    </label>
  );
}
