// Search without a server: shards of the index (words of one beginning -> pages) and pages' texts come as scripts, since a
// page from a disk may read no files. Text is only ever set as text, never as markup.
"use strict";
(() => {
  const root = document.documentElement.dataset.root;
  const box = document.getElementById("q");
  const out = document.getElementById("hits");
  const HITS = 40, SHARDS = 1024, WORD = 40;
  const ALONE = /[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]/u;
  const loaded = new Map();
  let pages = null, run = 0;

  window.Quire = (name, value) => loaded.get(name).resolve(value);

  function load(name) {
    if (!loaded.has(name)) {
      const entry = {};
      entry.promise = new Promise((resolve) => { entry.resolve = resolve; });
      loaded.set(name, entry);
      const script = document.createElement("script");
      script.src = `${root}search/${name}.js`;
      script.onerror = () => entry.resolve(null);
      document.head.append(script);
    }
    return loaded.get(name).promise;
  }

  const fold = (text) => text.toLowerCase().normalize("NFKD").replace(/\p{Mn}/gu, "");

  function words(text) {
    const found = [];
    for (const word of fold(text).match(/[\p{L}\p{N}]+/gu) || []) {
      let run = "";
      for (const c of word) {
        if (ALONE.test(c)) {
          if (run) found.push(run);
          found.push(c);
          run = "";
        } else run += c;
      }
      if (run) found.push(run);
    }
    return found.map((word) => Array.from(word).slice(0, WORD).join(""));
  }

  function shard(word) {
    const [a, b] = Array.from(word);
    return ((a.codePointAt(0) * 31 + (b ? b.codePointAt(0) : 0)) % SHARDS).toString(16);
  }

  function expand(ranges, into) {
    for (const part of ranges.split(",")) {
      const [first, last] = part.split("-").map(Number);
      for (let page = first; page <= (last || first); page++) into.add(page);
    }
  }

  async function pagesWith(word, last) {
    const found = new Set();
    const index = (await load(`s/${shard(word)}`)) || {};
    if (Object.hasOwn(index, word)) expand(index[word], found);
    if (last && Array.from(word).length > 1) {
      for (const [other, ranges] of Object.entries(index)) if (other.startsWith(word)) expand(ranges, found);
    }
    return found;
  }

  async function search(text) {
    const mine = ++run;
    const wanted = words(text);
    document.body.classList.toggle("searching", wanted.length > 0);
    if (!wanted.length) return;
    pages = pages || (await load("pages"));
    const sets = await Promise.all(wanted.map((word, at) => pagesWith(word, at === wanted.length - 1)));
    if (mine !== run) return;
    sets.sort((a, b) => a.size - b.size);
    const numbers = [...sets[0]].filter((page) => sets.every((set) => set.has(page)));
    numbers.sort((a, b) => pages[b][2] - pages[a][2]);
    out.replaceChildren();
    await show(numbers, wanted, mine, 0);
  }

  async function show(numbers, wanted, mine, from) {
    let count = 0, at = from;
    for (; at < numbers.length && count < HITS; at++) {
      const [url, channel] = pages[numbers[at]];
      const texts = (await load(`t/${numbers[at]}`)) || [];
      if (mine !== run) return;
      for (const [id, author, when, text] of texts.reverse()) {
        if (matches(`${author} ${text}`, wanted)) {
          out.append(hit(`${root}${url}#${id}`, `${author} · #${channel} · ${when}`, text, wanted));
          count++;
        }
      }
      texts.reverse();
    }
    if (!count && !from) out.append(line("Nothing found."));
    if (at < numbers.length) {
      const more = document.createElement("button");
      more.textContent = "More";
      more.onclick = () => { more.remove(); show(numbers, wanted, mine, at); };
      out.append(more);
    }
  }

  function matches(text, wanted) {
    const there = words(text);
    const all = new Set(there);
    return wanted.every((word, at) => all.has(word) || (at === wanted.length - 1 && there.some((w) => w.startsWith(word))));
  }

  function line(text) {
    const p = document.createElement("p");
    p.textContent = text;
    p.className = "about";
    return p;
  }

  function hit(url, about, text, wanted) {
    const a = document.createElement("a"), when = document.createElement("span"), body = document.createElement("span");
    a.href = url;
    a.addEventListener("click", () => { box.value = ""; document.body.classList.remove("searching"); });
    when.className = "w";
    when.textContent = about;
    body.dir = "auto";
    const parts = text.split(/([\p{L}\p{N}\p{Mn}]+)/u);
    const first = parts.findIndex((part, at) => at % 2 && words(part).some((w) => wanted.some((x) => w.startsWith(x))));
    const start = Math.max(0, first - 30);
    if (start) body.append("… ");
    for (const part of parts.slice(start, start + 90)) {
      if (words(part).some((w) => wanted.some((x) => w.startsWith(x)))) {
        const mark = document.createElement("mark");
        mark.textContent = part;
        body.append(mark);
      } else body.append(part);
    }
    if (parts.length > start + 90) body.append(" …");
    a.append(when, body);
    return a;
  }

  let waiting = 0;
  box.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(() => search(box.value), 150); });
  box.addEventListener("keydown", (event) => { if (event.key === "Escape") { box.value = ""; search(""); } });
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && document.activeElement !== box) { event.preventDefault(); box.focus(); }
  });
  window.addEventListener("beforeprint", () => { for (const d of document.querySelectorAll("details")) d.open = true; });
  const asked = new URLSearchParams(location.search).get("q");
  if (asked) { box.value = asked; search(asked); }
})();
