import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import {
  adapterCandidates,
  type AdapterChoice,
  adapterLine,
  adapterRemedy,
  classifyAdapter,
  type Machine,
  takeAdapterChoice,
} from "../../tools/adapters.ts";
import { commandArguments } from "../../tools/launch_arguments.ts";
import {
  launchEnvironment,
  outerEnvironment,
  type Variables,
} from "../../tools/launch_environment.ts";
import { PARTS, selectParts } from "../../tools/ok_parts.ts";

const LINUX: Machine = {
  os: "linux",
  arch: "x86_64",
  families: ["debian"],
  llvmpipeManifests: ["/usr/share/vulkan/icd.d/lvp_icd.x86_64.json"],
  swiftShaderFolder: "/checkout/.cache/swiftshader",
};
const MAC: Machine = {
  ...LINUX,
  os: "darwin",
  arch: "aarch64",
  families: [],
  llvmpipeManifests: [],
};
const WINDOWS: Machine = { ...MAC, os: "windows", arch: "x86_64" };

function choices(machine: Machine, choice?: AdapterChoice): AdapterChoice[] {
  return adapterCandidates(machine, choice).map((candidate) => candidate.choice);
}

Deno.test("adapterCandidates() tries a GPU, then an installed driver, then SwiftShader", () => {
  assert.deepEqual(choices(LINUX), ["hardware", "llvmpipe", "swiftshader"]);
});

Deno.test("adapterCandidates() leaves SwiftShader out where npm's libraries do not run", () => {
  assert.deepEqual(choices({ ...LINUX, arch: "aarch64" }), ["hardware", "llvmpipe"]);
  assert.deepEqual(choices(MAC), ["hardware", "llvmpipe"]);
  assert.deepEqual(choices(WINDOWS), ["hardware", "llvmpipe"]);
});

Deno.test("adapterCandidates() given a choice fails closed: that kind and no other", () => {
  for (const choice of ["hardware", "llvmpipe", "swiftshader"] as const) {
    const candidates = adapterCandidates(LINUX, choice);
    assert.deepEqual(candidates.map((candidate) => candidate.accepts), [[choice]]);
  }
  assert.deepEqual(adapterCandidates(MAC, "swiftshader"), []);
});

Deno.test("adapterCandidates() without a choice takes any software driver that is installed", () => {
  const [hardware, installed] = adapterCandidates(WINDOWS);
  assert.deepEqual(hardware?.accepts, ["hardware"]);
  assert.ok(installed?.accepts.includes("software"));
});

Deno.test("adapterCandidates() points the Vulkan loader at one driver", () => {
  const [, llvmpipe, swiftShader] = adapterCandidates(LINUX);
  assert.equal(llvmpipe?.environment.VK_DRIVER_FILES, LINUX.llvmpipeManifests[0]);
  assert.equal(
    swiftShader?.environment.VK_DRIVER_FILES,
    "/checkout/.cache/swiftshader/vk_swiftshader_icd.json",
  );
  assert.equal(
    swiftShader?.environment.VK_ICD_FILENAMES,
    swiftShader?.environment.VK_DRIVER_FILES,
  );
  assert.equal(swiftShader?.environment.LD_LIBRARY_PATH, "/checkout/.cache/swiftshader");
  for (const candidate of adapterCandidates(LINUX)) {
    assert.equal(candidate.environment.DENO_WEBGPU_BACKEND, "vulkan");
  }
  assert.deepEqual(adapterCandidates(MAC).map((candidate) => candidate.environment), [{}, {}]);
});

Deno.test("classifyAdapter() tells the kinds apart by name and flag", () => {
  const cases: [string, boolean, string][] = [
    ["NVIDIA H200", false, "hardware"],
    ["Intel(R) UHD Graphics 620 (KBL GT2)", false, "hardware"],
    ["Apple M3", false, "hardware"],
    ["llvmpipe (LLVM 15.0.6, 256 bits)", true, "llvmpipe"],
    ["llvmpipe (LLVM 19.1.7, 256 bits)", false, "llvmpipe"],
    ["SwiftShader Device (Subzero)", true, "swiftshader"],
    ["Microsoft Basic Render Driver", false, "software"],
    ["Some other rasteriser", true, "software"],
  ];
  for (const [name, isFallback, kind] of cases) {
    assert.equal(classifyAdapter(name, isFallback), kind, name);
  }
});

Deno.test("adapterLine() names the adapter, its kind, what backs it, and f16", () => {
  assert.equal(
    adapterLine({ name: "NVIDIA H200", kind: "hardware", f16: true }),
    "Adapter: NVIDIA H200 (hardware, f16)",
  );
  assert.equal(
    adapterLine({ name: "SwiftShader Device (Subzero)", kind: "swiftshader", f16: false }),
    "Adapter: SwiftShader Device (Subzero) (swiftshader, software, no f16)",
  );
  assert.equal(
    adapterLine({ name: "Microsoft Basic Render Driver", kind: "software", f16: false }),
    "Adapter: Microsoft Basic Render Driver (software, no f16)",
  );
});

Deno.test("adapterRemedy() gives each system its own remedy", () => {
  const cases: [Partial<Machine>, RegExp][] = [
    [{ families: ["debian"] }, /apt-get install mesa-vulkan-drivers/],
    [{ families: ["linuxmint", "ubuntu", "debian"] }, /apt-get install mesa-vulkan-drivers/],
    [{ families: ["fedora"] }, /dnf install mesa-vulkan-drivers/],
    [{ families: ["rocky", "rhel", "centos", "fedora"] }, /dnf install mesa-vulkan-drivers/],
    [{ families: ["manjaro", "arch"] }, /pacman -S vulkan-swrast/],
    [{ families: ["opensuse-tumbleweed", "opensuse", "suse"] }, /zypper install libvulkan_lvp/],
    [{ families: ["alpine"] }, /apk add .*mesa-vulkan-swrast/],
    [{ families: ["nixos"] }, /package manager/],
    [{ families: [] }, /package manager/],
    [MAC, /Metal/],
    [WINDOWS, /DirectX 12/],
  ];
  for (const [facts, remedy] of cases) {
    const machine = { ...LINUX, ...facts };
    assert.match(adapterRemedy(machine), remedy, `${machine.os} ${machine.families}`);
  }
});

Deno.test("adapterRemedy() for a choice speaks about that choice", () => {
  const cases: [Machine, AdapterChoice, RegExp][] = [
    [LINUX, "hardware", /GPU's Vulkan driver/],
    [LINUX, "llvmpipe", /apt-get install mesa-vulkan-drivers/],
    [LINUX, "swiftshader", /npm registry can be reached/],
    [{ ...LINUX, arch: "aarch64" }, "swiftshader", /Linux on x86-64 only/],
    [MAC, "hardware", /Metal/],
    [MAC, "llvmpipe", /Leave out --adapter llvmpipe/],
    [WINDOWS, "swiftshader", /Leave out --adapter swiftshader/],
  ];
  for (const [machine, choice, remedy] of cases) {
    assert.match(adapterRemedy(machine, choice), remedy, `${machine.os} ${choice}`);
  }
});

Deno.test("takeAdapterChoice() takes the choice out and passes everything else on", () => {
  assert.deepEqual(takeAdapterChoice(["run", "a.ts", "--tokens", "9"]), {
    choice: undefined,
    rest: ["run", "a.ts", "--tokens", "9"],
  });
  assert.deepEqual(takeAdapterChoice(["test", "--", "--adapter", "none"]), {
    choice: undefined,
    rest: ["test", "--", "--adapter", "none"],
  });
  for (const given of [["--adapter", "llvmpipe"], ["--adapter=llvmpipe"]]) {
    assert.deepEqual(takeAdapterChoice(["run", "a.ts", ...given, "--json", "x"]), {
      choice: "llvmpipe",
      rest: ["run", "a.ts", "--json", "x"],
    });
  }
});

Deno.test("takeAdapterChoice() refuses a kind that is none", () => {
  for (const given of [["--adapter", "gpu"], ["--adapter=gpu"], ["--adapter="], ["--adapter"]]) {
    assert.throws(() => takeAdapterChoice(given), RangeError);
  }
});

Deno.test("commandArguments() gives Deno's test runner its folder unless files are named", () => {
  assert.deepEqual(commandArguments("adapter", []), undefined);
  assert.deepEqual(commandArguments("run", ["a.ts", "-x"]), ["run", "-A", "a.ts", "-x"]);
  assert.deepEqual(commandArguments("test", []), ["test", "-A", "--parallel", "tests/"]);
  assert.deepEqual(commandArguments("test", ["--filter", "rope"]), [
    ..."test -A --parallel tests/ --filter rope".split(" "),
  ]);
  assert.deepEqual(commandArguments("test", ["mod.ts"]), ["test", "-A", "--parallel", "mod.ts"]);
  assert.deepEqual(commandArguments("test", ["none_test.ts"]), [
    "test",
    "-A",
    "--parallel",
    "none_test.ts",
  ]);
  assert.deepEqual(commandArguments("test", ["--", "mod.ts"]), [
    ..."test -A --parallel tests/ -- mod.ts".split(" "),
  ]);
});

Deno.test("commandArguments() refuses an unknown command and a run without a file", () => {
  for (const command of [undefined, "serve", "bench"]) {
    assert.throws(() => commandArguments(command, []), RangeError);
  }
  assert.throws(() => commandArguments("run", []), RangeError);
});

Deno.test("outerEnvironment() undoes what launchEnvironment() changed, and what a launcher around it did", () => {
  const person = { PATH: "/bin", LD_LIBRARY_PATH: "/own", VK_DRIVER_FILES: "/own.json" };
  const outer: Variables = {
    ...person,
    ...launchEnvironment(person, { LD_LIBRARY_PATH: "/swiftshader:/own", COUPLET_ADAPTER: "one" }),
  };
  const inner: Variables = {
    ...outer,
    ...launchEnvironment(outer, { VK_DRIVER_FILES: "/lvp.json", COUPLET_ADAPTER: "two" }),
  };
  assert.equal(inner.LD_LIBRARY_PATH, "/swiftshader:/own");
  assert.equal(inner.VK_DRIVER_FILES, "/lvp.json");
  assert.equal(inner.COUPLET_ADAPTER, "two");
  for (const own of [person, outer, inner]) assert.deepEqual(outerEnvironment(own), person);
});

Deno.test("launch.ts changes no variable that outerEnvironment() does not give back", async () => {
  const own = outerEnvironment(Deno.env.toObject());
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "-A",
      "--no-lock",
      "tools/launch.ts",
      "run",
      "tests/helpers/print_environments.ts",
    ],
    cwd: fileURLToPath(new URL("../../", import.meta.url)),
    clearEnv: true,
    env: { ...own },
  }).output();
  assert.equal(code, 0, new TextDecoder().decode(stderr));
  const { inner, outer } = JSON.parse(new TextDecoder().decode(stdout));
  assert.ok(inner.COUPLET_ADAPTER.length > 0);
  assert.deepEqual(outer, own);
});

Deno.test("selectParts() keeps the parts' order and reports unknown names", () => {
  const names = (selected: ReturnType<typeof selectParts>): string[] =>
    typeof selected === "string" ? [] : selected.map((part) => part.name);
  assert.deepEqual(selectParts({}), PARTS);
  assert.deepEqual(names(selectParts({ only: "lint,fmt" })), ["fmt", "lint"]);
  assert.ok(!names(selectParts({ skip: "test" })).includes("test"));
  assert.match(String(selectParts({ only: "lnit" })), /No part is named "lnit"/);
});

Deno.test({
  name: "launch.ts starts nothing where the adapter asked for is not there",
  // Only the Vulkan loader can be told to find no driver.
  ignore: Deno.build.os !== "linux",
  fn: async () => {
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: [
        ..."run -A --no-lock tools/launch.ts run --adapter hardware tools/probe_adapter.ts".split(
          " ",
        ),
      ],
      cwd: fileURLToPath(new URL("../../", import.meta.url)),
      env: { VK_DRIVER_FILES: "/none.json", VK_ICD_FILENAMES: "/none.json" },
    }).output();
    assert.equal(code, 3);
    assert.equal(new TextDecoder().decode(stdout), "");
    const message = new TextDecoder().decode(stderr);
    assert.match(message, /No hardware adapter works on this machine/);
    assert.match(message, /leave out --adapter hardware/);
  },
});
