// Where the answers come from: a server with the model, or what this file holds.

/** Answers from the model, by requests to the server that sent this page. */
class Live {
  constructor() {
    this.token = new URLSearchParams(location.search).get("token") ?? "";
  }

  async ask(name, body) {
    return this.send(name, JSON.stringify(body ?? {}));
  }

  async send(name, body) {
    let response;
    try {
      response = await fetch(`api/${name}`, {
        method: "POST",
        body,
        headers: { Authorization: `Bearer ${this.token}` },
      });
    } catch {
      throw new Error("The explorer no longer answers: is pvae explore still running?");
    }
    const answer = await response.json().catch(() => ({}));
    if (!response.ok) throw new Error(answer.error ?? `The explorer answered ${response.status}.`);
    return answer;
  }
}

/** Answers recorded in this file, for the nearest point at which there is one. */
class Recorded {
  constructor(held) {
    this.held = held;
  }

  static async read(element) {
    const bytes = fromBase64(element.textContent.trim());
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Recorded(await new Response(stream).json());
  }

  async ask(name, body) {
    return this[name](body ?? {});
  }

  model() {
    return this.held.model;
  }

  given(body) {
    return body.y == null ? "" : `:${body.y}`;
  }

  key(body) {
    const index = body.plane === "pair" ? `:${body.first}:${body.second}` : "";
    return `${body.plane}${index}`;
  }

  plane(body) {
    const plane = this.held.planes[this.key(body)];
    return { ...plane, tiles: plane.tiles[this.given(body)] ?? plane.tiles[""] ?? null };
  }

  at(body) {
    const { tiles, extent, points, z } = this.plane(body);
    if (!tiles) {
      // A map without decoded points: the reconstructions of the nearest data.
      const items = body.points.map(([u, v]) => nearest(points, u, v));
      return {
        items,
        z: items.map((item) => this.held.data[item].z),
        frames: take(this.held.reconstructions, items),
      };
    }
    const [left, right, bottom, top] = extent;
    const step = (t) => Math.max(0, Math.min(tiles.side - 1, Math.floor(t * tiles.side)));
    const cells = body.points.map(
      ([u, v]) =>
        step((top - v) / (top - bottom)) * tiles.side + step((u - left) / (right - left)),
    );
    return { items: null, z: cells.map((cell) => z?.[cell] ?? null), frames: take(tiles.frames, cells) };
  }

  decode(body) {
    const found = this.held.traversals[this.given(body)] ?? this.held.traversals[""];
    return { frames: take(found.frames, body.z.map((z) => nearestRow(found.z, z))) };
  }

  sample(body) {
    return this.held.samples[this.given(body)] ?? this.held.samples[""];
  }

  items(body) {
    return { frames: take(this.held.thumbnails, body.rows) };
  }

  scores() {
    return this.held.scores;
  }

  datum(body) {
    return {
      ...this.held.data[body.item],
      places: body.planes.map((one) => this.held.planes[this.key(one)].places[body.item]),
      x: take(this.held.x, [body.item]),
      reconstruction: take(this.held.reconstructions, [body.item]),
    };
  }

  evidence(body) {
    return this.held.evidence[body.item];
  }
}

/** Asks one question at a time: while one is open, the newest waits and replaces older ones. */
class Latest {
  constructor(task) {
    this.task = task;
    this.open = false;
  }

  ask(question) {
    if (this.open) {
      this.waiting = { question };
      return;
    }
    this.open = true;
    this.run(question);
  }

  async run(question) {
    try {
      await this.task(question);
    } catch (error) {
      say(error.message);
    }
    const next = this.waiting;
    this.waiting = undefined;
    if (next) this.run(next.question);
    else this.open = false;
  }
}

function fromBase64(text) {
  const characters = atob(text);
  const bytes = new Uint8Array(characters.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = characters.charCodeAt(i);
  return bytes;
}

function toBase64(bytes) {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text);
}

/** The frames of these numbers, of a batch that is a picture strip or a table. */
function take(frames, numbers) {
  frames.bytes ??= fromBase64(frames.data);
  const length = frames.bytes.length / frames.count;
  const bytes = new Uint8Array(length * numbers.length);
  numbers.forEach((n, i) => bytes.set(frames.bytes.subarray(n * length, (n + 1) * length), i * length));
  return { ...frames, count: numbers.length, bytes, data: undefined };
}

function nearest(points, u, v) {
  return nearestRow(points, [u, v]);
}

function nearestRow(rows, to) {
  let best = 0;
  let least = Infinity;
  rows.forEach((row, i) => {
    let distance = 0;
    for (let j = 0; j < row.length; j++) distance += (row[j] - to[j]) ** 2;
    if (distance < least) [best, least] = [i, distance];
  });
  return best;
}
