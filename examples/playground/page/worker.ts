/** Computes beside the page, which stays responsive: one device, one model, one text. */
import { CoupletError, parseScheme } from "@couplet/kv";
import { readCheckpoint } from "../../engine/checkpoint.ts";
import { requestDevice } from "../../explorer/page/run/request_device.ts";
import type { PlaygroundDocument } from "./session/document.ts";
import { KeptDocument, partsOf } from "./session/kept_document.ts";
import type { Command, Message, SessionState } from "./session/messages.ts";
import { SCHEMES } from "./session/schemes.ts";
import { Session } from "./session/session.ts";
import { download, loadSite, modelBytes, modelFiles } from "./session/site.ts";

/** Tokens after which a text that is still being written is kept. */
const KEPT_EVERY = 32;

const ENDED = {
  full: "The text is as long as the model was made for",
  ended: "The model has ended the text",
} as const;

function tell(message: Message): void {
  self.postMessage(message);
}

/** A session with what surrounds it. */
class Player {
  readonly #session: Session;
  readonly #fixed: Pick<SessionState, "adapter" | "schemes" | "learned">;
  readonly #commands: Command[] = [];
  #running = false;
  #busy = false;
  #status = "Ready";

  /** @param restored Tokens that are there from snapshots. */
  constructor(
    session: Session,
    fixed: Pick<SessionState, "adapter" | "schemes" | "learned">,
    restored: number,
  ) {
    this.#session = session;
    this.#fixed = fixed;
    const { text } = session.view.document;
    if (text.length > 0) {
      this.#status = restored > 0
        ? `The text is back, ${restored} tokens of it from snapshots of the caches`
        : "The text is back, and is read again with the next token";
    }
    this.#show();
  }

  /** Carries out a command after those before it. */
  async take(command: Command): Promise<void> {
    // Of settings that follow each other at once, only the last matter.
    if (command.kind === "change" && this.#commands.at(-1)?.kind === "change") {
      this.#commands.pop();
    }
    this.#commands.push(command);
    if (this.#busy) return;
    this.#busy = true;
    try {
      while (this.#commands.length > 0 || this.#running) await this.#advance();
    } finally {
      this.#busy = false;
    }
  }

  async #advance(): Promise<void> {
    const command = this.#commands.shift();
    try {
      if (command !== undefined) await this.#carryOut(command);
      else await this.#write();
    } catch (error) {
      this.#running = false;
      this.#status = "Stopped";
      tell({ kind: "refused", parts: partsOf(error, "That did not work") });
    }
    this.#show();
  }

  async #carryOut(command: Command): Promise<void> {
    const session = this.#session;
    switch (command.kind) {
      case "run":
        session.begin(command.promptText);
        this.#running = true;
        this.#status = "Writing";
        break;
      case "step":
        session.begin(command.promptText);
        this.#running = false;
        await this.#write();
        if (session.ended === undefined) await this.#pause();
        break;
      case "pause":
        if (this.#running) await this.#pause();
        break;
      case "clear":
        session.clear();
        await session.keep();
        this.#running = false;
        this.#status = "Back at the prompt";
        break;
      case "change": {
        this.#status = "Changing the second cache";
        this.#show();
        await session.change(command.settings);
        const { document: { settings: { scheme }, text } } = session.view;
        this.#status = text.length === 0
          ? `${scheme} is ready`
          : `${scheme} has read the ${text.length} tokens again`;
        await session.keep();
        break;
      }
      case "keep":
        await session.keep();
        break;
      case "forget":
        await session.forget();
        this.#running = false;
        this.#status = "Nothing is kept any more";
        break;
    }
  }

  /** Writes a token, and keeps the text now and then. */
  async #write(): Promise<void> {
    await this.#session.step();
    const { ended, view: { document: { text } } } = this.#session;
    if (ended !== undefined) {
      this.#running = false;
      this.#status = ENDED[ended];
      await this.#session.keep();
    } else if (text.length % KEPT_EVERY === 0) {
      await this.#session.keep();
    }
  }

  async #pause(): Promise<void> {
    this.#running = false;
    await this.#session.keep();
    const { text } = this.#session.view.document;
    this.#status = `Stopped after ${text.length} ${text.length === 1 ? "token" : "tokens"}`;
  }

  #show(): void {
    tell({
      kind: "state",
      state: {
        ...this.#session.view,
        ...this.#fixed,
        running: this.#running,
        status: this.#status,
      },
    });
  }
}

/** Loads everything, and the document. */
async function open(document: PlaygroundDocument | undefined): Promise<Player> {
  tell({ kind: "loading", what: "Asking for a device" });
  const { device, adapter } = await requestDevice();
  device.lost.then(({ message, reason }) => {
    tell({
      kind: "lost",
      parts: {
        what: "The device was lost",
        why: message || `the browser says "${reason}"`,
        remedy:
          "Go on with another: the text is there, and the caches are restored or read it again",
      },
    });
  });
  const site = await loadSite();
  const total = modelBytes(site);
  const checkpoint = await readCheckpoint(modelFiles(site, (bytes) => {
    const what = `Loading the model, ${(total / 2 ** 20).toFixed(1)} MiB`;
    tell({ kind: "loading", what, fraction: bytes / total });
  }));
  const schemes = SCHEMES.map(({ id }) => id)
    .filter((id) => parseScheme(id).codebook !== "learned" || id in site.codebooks);
  const loaded = new Map<string, Promise<Uint8Array<ArrayBuffer>>>();
  const { session, restored } = await Session.open({
    device,
    checkpoint,
    schemes,
    async codebooks(scheme) {
      const file = site.codebooks[scheme];
      if (file === undefined) return undefined;
      const bytes = loaded.get(scheme) ?? download(file.path, () => {});
      loaded.set(scheme, bytes);
      return await bytes.catch((error) => {
        loaded.delete(scheme);
        throw error;
      });
    },
    place: await KeptDocument.open().catch((error) => {
      if (error instanceof CoupletError) return error;
      throw error;
    }),
    onProgress: (what) => tell({ kind: "loading", what }),
  }, document);
  return new Player(session, {
    adapter,
    schemes,
    learned: site.learned,
  }, restored);
}

let player: Promise<Player> | undefined;

self.onmessage = async ({ data }: MessageEvent<Command>) => {
  if (data.kind !== "open") return await (await player)?.take(data);
  player = open(data.document);
  await player.catch((error) => {
    const parts = partsOf(error, "The playground cannot start");
    tell({
      kind: "failed",
      parts,
      ...(error instanceof CoupletError ? { code: error.code } : {}),
    });
  });
};
