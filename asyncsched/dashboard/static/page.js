"use strict";
// The page's only script: it ticks the times, takes changed fragments from the server, posts actions, and hears keys.
(() => {
  const $ = (query, from = document) => from.querySelector(query);
  const all = (query, from = document) => [...from.querySelectorAll(query)];
  const root = document.body.dataset.root, top = $(".top"), word = $(".live-word"), NB = "\u202f";
  const policy = window.trustedTypes
    ? trustedTypes.createPolicy("asyncsched", { createHTML: (html) => html }) : { createHTML: (html) => html };

  // ── times that tick ──────────────────────────────────────────────────────────────────────
  const two = (n) => String(n).padStart(2, "0");
  const whole = (s) => {
    if (s < 60) return `${s}${NB}s`;
    const d = Math.floor(s / 86400), h = Math.floor(s / 3600) % 24, m = Math.floor(s / 60) % 60;
    if (d) return `${d}${NB}d ${h}${NB}h`;
    return h ? `${h}${NB}h ${two(m)}${NB}m` : `${m}${NB}m ${two(s % 60)}${NB}s`;
  };
  let skew = 0, heard = Date.now();
  const now = () => Date.now() + skew;
  const said = (el) => {
    const s = (Number(el.dataset.t) - now()) / 1000, abs = Math.abs(s);
    if ("plain" in el.dataset) return whole(Math.floor(Math.max(0, -s)));
    if (abs < 1) return s >= 0 ? "now" : "just now";
    return s > 0 ? `in ${whole(Math.floor(s))}` : `${whole(Math.floor(-s))} ago`;
  };
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone || "local";
  const tick = () => {
    const stale = top.dataset.live === "off" && Date.now() - heard > 10000;
    document.body.classList.toggle("stale", stale);
    if (stale) return;
    for (const el of all("time[data-t]")) {
      const text = said(el);
      if (el.textContent !== text) el.textContent = text;
    }
    const c = $(".clock");
    if (c) c.textContent = new Date(now()).toISOString().slice(11, 19) + " UTC";
  };
  document.addEventListener("pointerover", (event) => {
    const el = event.target.closest && event.target.closest("time[data-t]");
    if (el && !el.dataset.full) {
      el.dataset.full = "1";
      if (zone !== "UTC") el.title += "\n" + new Date(Number(el.dataset.t)).toLocaleString() + ` ${zone} (yours)`;
    }
  });
  setInterval(tick, 1000);

  // ── changed fragments ────────────────────────────────────────────────────────────────────
  const parse = (html) => {
    const holder = document.createElement("template");
    holder.innerHTML = policy.createHTML(html);
    return holder.content.firstElementChild;
  };
  const kept = new Set(["open", "value", "checked", "role", "aria-haspopup", "aria-expanded"]);
  const morph = (old, fresh) => {
    if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName) { old.replaceWith(fresh); return; }
    if (old.nodeType === 3) { if (old.data !== fresh.data) old.data = fresh.data; return; }
    if (old.nodeType !== 1) return;
    if (old.matches("input, textarea, select") && (old === document.activeElement || old.type === "checkbox")) return;
    for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    for (const { name } of [...old.attributes])
      if (!fresh.hasAttribute(name) && !kept.has(name) && !(name === "class" && old.classList.contains("at")) && name !== "data-full")
        old.removeAttribute(name);
    const from = [...old.childNodes], to = [...fresh.childNodes];
    to.forEach((node, i) => (i < from.length ? morph(from[i], node) : old.append(node)));
    from.slice(to.length).forEach((node) => node.remove());
  };
  const order = (body, ids) => {
    const busy = body.matches(":hover") || body.contains(document.activeElement);
    const wanted = new Set(ids.map((id) => `j-${id}`));
    for (const row of [...body.children]) if (!wanted.has(row.id)) row.remove();
    if (busy) return;
    ids.forEach((id, i) => {
      const row = document.getElementById(`j-${id}`);
      if (row && body.children[i] !== row) body.insertBefore(row, body.children[i] || null);
    });
  };
  const apply = (message) => {
    heard = Date.now();
    if (message.now) skew = message.now - Date.now();
    if (message.title) document.title = message.title;
    for (const [id, html] of Object.entries(message.html || {})) {
      const old = document.getElementById(id), fresh = parse(html);
      if (!fresh) continue;
      if (old) {
        const choice = getSelection();
        if (choice && !choice.isCollapsed && old.contains(choice.anchorNode)) continue;
        morph(old, fresh);
      } else if (fresh.nodeName === "TR" && $("[data-rows]")) $("[data-rows]").append(fresh);
    }
    for (const [id, ids] of Object.entries(message.order || {})) {
      const body = document.getElementById(id);
      if (body) order(body, ids);
    }
    buttons();
    tick();
  };

  let source = null, wait = 1000, timer = 0, since = document.body.dataset.since;
  const show = (state, text) => { top.dataset.live = state; if (word.textContent !== text) word.textContent = text; };
  const close = () => { clearTimeout(timer); if (source) source.close(); source = null; };
  const open = () => {
    close();
    if (!document.body.dataset.events || document.hidden) return;
    source = new EventSource(`${document.body.dataset.events}&since=${encodeURIComponent(since)}`);
    source.onopen = () => { wait = 1000; show("on", "Live"); };
    source.onmessage = (event) => { since = event.lastEventId || since; show("on", "Live"); apply(JSON.parse(event.data)); };
    source.addEventListener("gone", () => location.reload());
    source.addEventListener("bye", () => { close(); timer = setTimeout(open, 200); });
    source.onerror = () => {
      close();
      show("off", "Reconnecting…");
      timer = setTimeout(open, wait);
      wait = Math.min(30000, wait * 2);
    };
  };
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  addEventListener("online", open);
  addEventListener("pagehide", close);
  addEventListener("pageshow", (event) => { if (event.persisted) open(); });
  if (window.EventSource) open();

  // ── actions ──────────────────────────────────────────────────────────────────────────────
  const toast = (text, link) => {
    const el = document.createElement("div");
    el.className = "toast";
    el.textContent = text;
    if (link) {
      const a = document.createElement("a");
      a.href = link; a.textContent = "open run";
      el.append(" – ", a);
    }
    $(".toasts").append(el);
    setTimeout(() => el.remove(), 8000);
  };
  // What was said stands on the page that is loaded next, too. A browser may refuse to keep anything.
  const carryOver = (text) => { try { sessionStorage.setItem("asyncsched-said", text); } catch { /* then it is short */ } };
  const carriedOver = () => {
    try {
      const text = sessionStorage.getItem("asyncsched-said");
      sessionStorage.removeItem("asyncsched-said");
      return text;
    } catch { return null; }
  };
  // Tell what was done; a page without a stream is loaded again to show it.
  const ended = (said, location_) => {
    const text = said.message || "Done";
    toast(text, said.run_id ? `${root}/runs/${said.run_id}` : "");
    const go = location_ ? () => location.assign(root + location_) : source ? null : () => location.reload();
    if (go) { carryOver(text); setTimeout(go, 400); }
  };
  const post = async (path, body) => {
    let answer;
    try {
      answer = await fetch(`${root}/api/v1/${path}`, {
        method: "POST", headers: { "X-Asyncsched": "1", "X-Asyncsched-Via": "page", "Content-Type": "application/json" },
        body: JSON.stringify(body || {}),
      });
    } catch { toast("The server did not answer; nothing is known of the action."); return false; }
    let said = {};
    try { said = await answer.json(); } catch { /* an answer without a body */ }
    if (!answer.ok) { toast(said.detail || said.title || `Refused (${answer.status})`); return false; }
    ended(said, said.location);
    return true;
  };
  const make = (name, text, attributes = {}) => {
    const el = document.createElement(name);
    if (text) el.textContent = text;
    for (const [key, value] of Object.entries(attributes)) el.setAttribute(key, value);
    return el;
  };
  // A dialog: what will happen, the fields that are needed, and the verb on the button.
  const ask = ({ heading, text, verb, note, fields, type }) => new Promise((resolve) => {
    const dialog = make("dialog", "", { "aria-labelledby": "dialog-title" }), form = make("form", "", { method: "dialog" });
    form.append(make("h2", heading, { id: "dialog-title" }));
    if (text) form.append(make("p", text));
    const inputs = {};
    const add = (name, label, kind, value) => {
      form.append(make("label", label, { for: `field-${name}` }));
      const el = make(kind === "json" ? "textarea" : "input", "", { id: `field-${name}`, name, maxlength: 20000 });
      if (kind === "json") el.rows = 6; else if (kind !== "text") el.type = kind;
      if (value) el.value = value;
      inputs[name] = [el, kind];
      form.append(el);
    };
    for (const field of fields || []) add(...field);
    if (note) add("note", "Note (optional)", "text", "");
    if (type) add("typed", `Type ${type} to go on`, "text", "");
    const wrong = make("p", "", { class: "failed", role: "alert" });
    const buttons = make("div", "", { class: "buttons" });
    const no = make("button", "Cancel", { class: "btn", value: "no", type: "submit", formnovalidate: "" });
    const yes = make("button", verb, { class: "btn bad", value: "yes", type: "submit" });
    buttons.append(no, yes);
    form.append(wrong, buttons);
    dialog.append(form);
    document.body.append(dialog);
    form.addEventListener("submit", (event) => {
      if (event.submitter === no) return;
      const body = {};
      for (const [name, [el, kind]] of Object.entries(inputs)) {
        if (name === "typed") { if (el.value !== type) { event.preventDefault(); wrong.textContent = `Type ${type}.`; } continue; }
        if (kind === "json") {
          try { body[name] = JSON.parse(el.value || "{}"); } catch (error) { event.preventDefault(); wrong.textContent = `This is no JSON: ${error.message}`; }
        } else if (kind === "datetime-local") { if (el.value) body[name] = el.value + (el.value.length === 16 ? ":00Z" : "Z"); }
        else if (kind === "checkbox") body[name] = el.checked;
        else if (el.value) body[name] = el.value;
      }
      dialog.answer = body;
    });
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes" ? dialog.answer : null);
    });
    dialog.showModal();
    (fields && fields.length ? inputs[fields[0][0]][0] : no).focus();
  });
  // The buttons of rows are short: their schedule is the row's, and what a pause skips is asked for when it is needed.
  const MOST_DUE = 100;
  const skipped = async (path) => {
    const kept = "The pause is kept over restarts and on all instances.";
    try {
      const answer = await fetch(`${root}/api/v1/${path}/due?n=${MOST_DUE}`, { signal: AbortSignal.timeout(2000) });
      const due = (await answer.json()).due.filter((one) => Date.parse(one.at) <= now() + 3600000).length;
      if (!due) return `It is not due within the next hour. ${kept}`;
      return `${due === MOST_DUE ? "More than " : ""}${due} due time${due === 1 ? "" : "s"} an hour will be skipped until it is resumed. ${kept}`;
    } catch { return kept; }
  };
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-post], [data-do]");
    if (!button) return;
    const data = button.dataset, pauses = data.do === "pause";
    const subject = data.do && `schedules/${encodeURIComponent(button.closest("tr").id.slice(2))}`;
    let body = data.body ? JSON.parse(data.body) : {};
    const text = pauses ? await skipped(subject) : data.confirm;
    if (text || data.fields) {
      const label = button.getAttribute("aria-label") || button.textContent;
      const given = await ask({
        heading: data.heading || label, text, verb: data.verb || (pauses ? "Pause" : label),
        note: pauses || "note" in data, fields: data.fields ? JSON.parse(data.fields) : [], type: data.type,
      });
      if (!given) { (button.isConnected ? button : button.parentNode.opener || document.body).focus(); return; }
      body = { ...body, ...given };
    }
    button.disabled = true;
    await (data.post === "bulk" ? send(body) : post(data.do ? `${subject}/${data.do}` : data.post, body));
    button.disabled = false;
  });
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    const text = document.getElementById(button.dataset.copy).textContent;
    navigator.clipboard.writeText(text).then(() => toast("Copied"), () => toast("The browser refused to copy."));
  });

  // ── choosing several ─────────────────────────────────────────────────────────────────────
  const MANY = 50; // from so many on, the server tells how far it is
  const chosen = () => all("[data-tick]:checked").map((el) => el.closest("tr").id.slice(2));
  const found = () => JSON.parse($("[data-chosen]").dataset.chosen);
  let filtered = null; // all that match the filter, with their number: not only the rows of this page
  const send = async (body) => {
    if (body.expected < MANY) return post("bulk", body);
    const el = make("div", "", { class: "toast" }), text = make("span"), bar = make("progress", "", { max: body.expected, "aria-label": "Progress" });
    el.append(text, " ", bar);
    $(".toasts").append(el);
    let last = {};
    try {
      const answer = await fetch(`${root}/api/v1/bulk`, {
        method: "POST", body: JSON.stringify(body),
        headers: { "X-Asyncsched": "1", "X-Asyncsched-Via": "page", "Content-Type": "application/json", Accept: "application/x-ndjson" },
      });
      if (!answer.ok) { const said = await answer.json(); toast(said.detail || said.title); return false; }
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let rest = "", part = await reader.read(); !part.done; part = await reader.read()) {
        const lines = (rest + part.value).split("\n");
        rest = lines.pop();
        for (const line of lines) {
          last = JSON.parse(line);
          if (last.of) { text.textContent = `${last.done} of ${last.of}`; bar.max = last.of; bar.value = last.done; }
        }
      }
      ended({ message: last.message || "The server stopped before the end: see Activity for what was done." });
      return true;
    } catch { toast("The connection broke: see Activity for what was done."); return false; } finally { el.remove(); }
  };
  const bulk = () => {
    const ids = chosen();
    let bar = $(".bulk");
    if (!ids.length) { filtered = null; if (bar) bar.remove(); return; }
    if (!bar) {
      bar = make("div", "", { class: "bulk", role: "region", "aria-label": "Chosen schedules" });
      bar.append(make("b", "", { role: "status" }));
      for (const [label, action] of [["Run", "run"], ["Pause", "pause"], ["Resume", "resume"]]) {
        const button = make("button", label, { class: "btn", type: "button" });
        button.addEventListener("click", async () => {
          const which = chosen(), filter = filtered ? filtered.filter : { ids: which }, expected = filtered ? filtered.count : which.length;
          const given = await ask({
            heading: `${label} ${expected} ${expected === 1 ? "schedule" : "schedules"}?`,
            text: filtered ? "All that match the filter, on all pages. Nothing is done if many more match by then." : which.slice(0, 6).join(", ") + (which.length > 6 ? " …" : ""),
            verb: label, note: true,
          });
          if (given && (await send({ action, filter, expected, ...given }))) {
            all("[data-tick]:checked, [data-tick-all]").forEach((el) => { el.checked = false; });
            filtered = null;
            bulk();
          }
        });
        bar.append(button);
      }
      const more = make("button", "", { class: "btn plain", type: "button", "data-every": "" });
      more.addEventListener("click", () => { filtered = filtered ? null : found(); bulk(); });
      bar.append(more);
      document.body.append(bar);
    }
    const text = filtered ? `All ${filtered.count} that match` : `${ids.length} selected`;
    if ($("b", bar).textContent !== text) $("b", bar).textContent = text;
    const more = $("[data-every]", bar), count = found().count;
    more.hidden = count <= ids.length && !filtered;
    more.textContent = filtered ? "Only the ticked ones" : `Select all ${count} that match`;
  };
  document.addEventListener("change", (event) => {
    const el = event.target;
    if (el.matches && el.matches("[data-tick-all]")) all("[data-tick]").forEach((one) => { one.checked = el.checked; });
    if (el.matches && el.matches("[data-tick], [data-tick-all]")) { filtered = null; bulk(); }
    if (el.matches && el.matches("select[data-go]")) el.form.submit();
  });

  // ── menus of further actions ─────────────────────────────────────────────────────────────
  const menus = (but) => all("details.menu[open]").forEach((el) => { if (!el.contains(but)) el.open = false; });
  document.addEventListener("click", (event) => menus(event.target.closest("summary")));
  document.addEventListener("keydown", (event) => {
    const open = event.key === "Escape" && $("details.menu[open]");
    if (open) { open.open = false; $("summary", open).focus(); }
  });
  // A row has a link to the page of its subject. Here it is a button, and its menu has the actions of that page.
  const actions = async (link) => {
    let found = [];
    try {
      const answer = await fetch(link.href);
      const page = new DOMParser().parseFromString(policy.createHTML(await answer.text()), "text/html");
      if (answer.ok) found = all(".titlebar [data-post]", page);
    } catch { /* then the page itself says what is wrong */ }
    if (!found.length || !link.isConnected) { location.assign(link.href); return; }
    const menu = make("div", "", { class: "card actions", popover: "auto", role: "menu", "aria-label": link.getAttribute("aria-label") });
    for (const el of found) { el.setAttribute("role", "menuitem"); menu.append(document.adoptNode(el)); }
    $("#main").append(menu);
    menu.showPopover();
    link.setAttribute("aria-expanded", "true");
    const box = link.getBoundingClientRect(), own = menu.getBoundingClientRect(), room = innerHeight - box.bottom - 8;
    menu.style.left = `${Math.max(8, box.right - own.width)}px`;
    menu.style.top = `${own.height <= room ? box.bottom + 4 : Math.max(8, box.top - own.height - 4)}px`;
    menu.opener = link;
    menu.addEventListener("click", (event) => { if (event.target.closest("[data-post]")) menu.hidePopover(); });
    menu.addEventListener("keydown", (event) => {
      const by = { ArrowDown: 1, ArrowUp: -1 }[event.key], end = { Home: 0, End: found.length - 1 }[event.key];
      if (by === undefined && end === undefined) return;
      event.preventDefault();
      found[end ?? (found.indexOf(document.activeElement) + by + found.length) % found.length].focus();
    });
    menu.addEventListener("toggle", (event) => {
      if (event.newState !== "closed") return;
      link.removeAttribute("aria-expanded");
      menu.remove();
      if (document.activeElement === document.body) link.focus();
    });
    found[0].focus();
  };
  const buttons = () => "showPopover" in HTMLElement.prototype && all("a[data-more]:not([role])").forEach((el) => { el.setAttribute("role", "button"); el.setAttribute("aria-haspopup", "menu"); });
  if ("showPopover" in HTMLElement.prototype) {
    buttons();
    document.addEventListener("click", (event) => {
      const link = event.target.closest("a[data-more][role]");
      if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      actions(link);
    });
    document.addEventListener("keydown", (event) => {
      if (event.key === " " && event.target.matches("a[data-more][role]")) { event.preventDefault(); event.target.click(); }
    });
  }
  const present = $(".top nav [aria-current]");
  if (present) present.scrollIntoView({ block: "nearest", inline: "nearest" });

  // ── theme and keys ───────────────────────────────────────────────────────────────────────
  const html = document.documentElement;
  const theme = () => {
    const next = { undefined: "dark", dark: "light", light: "" }[String(html.dataset.theme || undefined)];
    if (next) html.dataset.theme = next; else delete html.dataset.theme;
    document.cookie = `asyncsched-theme=${next}; path=${root || "/"}; max-age=31536000; samesite=strict`;
    toast(`Theme: ${next || "as the system has it"}`);
  };
  document.addEventListener("click", (event) => { if (event.target.closest("[data-theme-button]")) theme(); });
  const KEYS = [["j k", "next, previous row"], ["Enter", "open the row"], ["r", "run it now"], ["p", "pause or resume it"],
    ["x", "choose it"], ["m", "its other actions"], ["/", "filter"], ["g o r f t i a", "go to Overview, Runs, Failures, Timeline, Instances, Activity"],
    ["t", "theme"], ["?", "this list"], ["Esc", "close"]];
  const sheet = () => {
    const dialog = make("dialog", "", { class: "sheet", "aria-label": "Keys" }), list = make("dl");
    for (const [key, text] of KEYS) {
      const term = make("dt");
      for (const one of key.split(" ")) term.append(make("kbd", one), " ");
      list.append(term, make("dd", text));
    }
    const form = make("form", "", { method: "dialog" }), buttons = make("div", "", { class: "buttons" });
    buttons.append(make("button", "Close", { class: "btn" }));
    form.append(make("h2", "Keys"), list, buttons);
    dialog.append(form);
    dialog.addEventListener("close", () => dialog.remove());
    document.body.append(dialog);
    dialog.showModal();
  };
  const rows = () => all("tr[data-href]");
  const at = () => $("tr.at");
  const step = (by) => {
    const list = rows(), i = list.indexOf(at());
    const next = list[Math.max(0, Math.min(list.length - 1, i + by))];
    if (at()) at().classList.remove("at");
    if (next) { next.classList.add("at"); next.scrollIntoView({ block: "nearest" }); }
  };
  const PLACES = { o: "/", r: "/runs", f: "/failures", t: "/timeline", i: "/instances", a: "/activity" };
  let going = false;
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || $("dialog[open], [popover]")) return;
    if (event.target.matches("input, textarea, select")) { if (event.key === "Escape") event.target.blur(); return; }
    const key = event.key, row = at();
    if (going) { going = false; if (PLACES[key]) location.assign(root + PLACES[key]); return; }
    // Without a chosen row, the keys are for the subject of the page.
    const press = (query) => { const button = $(query, row || $(".titlebar") || top); if (button) button.click(); };
    if (key === "g") { going = true; setTimeout(() => { going = false; }, 1500); }
    else if (key === "j") step(1);
    else if (key === "k") step(-1);
    else if (key === "Enter" && row && event.target === document.body) $("a[href]", row).click();
    else if (key === "r") press("[data-do=run], [data-post$='/run']");
    else if (key === "p") press("[data-do=pause], [data-do=resume], [data-post$='/pause'], [data-post$='/resume']");
    else if (key === "x") press("[data-tick]");
    else if (key === "m") press("[data-more], details.menu summary");
    else if (key === "t") theme();
    else if (key === "?") sheet();
    else if (key === "/" && $("[data-filter]")) { event.preventDefault(); $("[data-filter]").focus(); }
    else if (key === "Escape" && row) row.classList.remove("at");
  });
  const before = $(".toasts") && carriedOver();
  if (before) toast(before);
  if (document.body.dataset.again) setTimeout(() => location.reload(), 1000 * document.body.dataset.again);
  tick();
})();
