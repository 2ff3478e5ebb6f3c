"use strict";
// Live figures and charts. Chart.js comes with unfold.
(function () {
  const COLOURS = { delivered: "#2e9d6a", soft: "#d9a13b", hard: "#c8453b", undelivered: "#7d5fb2" };
  const WORDS = { delivered: "Delivered", soft: "Soft bounces", hard: "Hard bounces", undelivered: "Undelivered" };
  const number = (value) => (typeof value === "number" ? value.toLocaleString("en-US") : String(value));
  const at = (figures, path) => path.split(".").reduce((value, key) => (value == null ? value : value[key]), figures);

  function label(seconds, step) {
    const time = new Date(seconds * 1000);
    const two = (value) => String(value).padStart(2, "0");
    const day = time.getFullYear() + "-" + two(time.getMonth() + 1) + "-" + two(time.getDate());
    const clock = two(time.getHours()) + ":" + two(time.getMinutes());
    if (step < 60) { return clock + ":" + two(time.getSeconds()); }
    return step >= 86400 ? day : step >= 3600 ? day.slice(5) + " " + clock : clock;
  }

  function data(timeline) {
    const names = Object.keys(timeline.series);
    const count = names.length ? timeline.series[names[0]].length : 0;
    const labels = Array.from({ length: count }, (_, index) => label(timeline.start + index * timeline.step, timeline.step));
    const datasets = names.map((name) => ({ label: WORDS[name], data: timeline.series[name], backgroundColor: COLOURS[name], stack: "outcomes", maxBarThickness: 40 }));
    return { labels, datasets };
  }

  function draw(canvas, type, data) {
    const style = getComputedStyle(document.documentElement);
    const dark = document.documentElement.classList.contains("dark");
    const ink = dark ? "#9ca3af" : "#6b7280";
    const line = style.getPropertyValue("--a-line") || "#ddd";
    const axis = { stacked: true, ticks: { color: ink, maxRotation: 0, autoSkipPadding: 16, precision: 0 }, grid: { color: line, drawTicks: false }, border: { display: false } };
    return new Chart(canvas, {
      type,
      data,
      options: { animation: false, maintainAspectRatio: false, interaction: { mode: "index", intersect: false }, scales: { x: { ...axis, grid: { display: false } }, y: { ...axis, beginAtZero: true } }, plugins: { legend: { position: "bottom", labels: { color: ink, boxWidth: 10, boxHeight: 10 } } } },
    });
  }

  function link(cell) {
    const anchor = document.createElement("a");
    anchor.textContent = cell.text;
    anchor.href = cell.href;
    anchor.className = "a-link";
    return anchor;
  }

  function rows(body, entries, none) {
    body.replaceChildren(...(entries.length ? entries : [[none]]).map((cells) => {
      const row = document.createElement("tr");
      cells.forEach((text) => {
        const cell = document.createElement("td");
        cell.append(typeof text === "object" ? link(text) : number(text));
        cell.className = cells.length === 1 ? "a-dim" : typeof text === "number" ? "a-num" : "";
        row.append(cell);
      });
      return row;
    }));
  }

  function show(root, figures) {
    root.querySelectorAll("[data-field]").forEach((node) => { node.textContent = number(at(figures, node.dataset.field)); });
    root.querySelectorAll("[data-show]").forEach((node) => { node.hidden = !figures[node.dataset.show]; });
    root.querySelectorAll("[data-hide]").forEach((node) => { node.hidden = Boolean(figures[node.dataset.hide]); });
    root.querySelectorAll("[data-share]").forEach((node) => { node.style.width = (figures.published ? (100 * figures[node.dataset.share]) / figures.published : 0) + "%"; });
    root.querySelectorAll("[data-rows=reasons]").forEach((body) => rows(body, Object.entries(figures.reasons), "None"));
    root.querySelectorAll("[data-lines]").forEach((body) => rows(body, at(figures, body.dataset.lines), body.dataset.none || ""));
    root.querySelectorAll("[data-rows=held_back]").forEach((body) => rows(body, figures.held_back.map((held) => [held.reason, held.count]), "Nobody"));
  }

  function follow(root, figures, chart) {
    if (!figures.moving) { return; }
    setTimeout(async () => {
      try {
        const answer = await fetch(root.dataset.address, { headers: { Accept: "application/json" } });
        if (answer.ok && !answer.redirected) {
          figures = await answer.json();
          show(root, figures);
          chart.data = data(figures.timeline);
          chart.update("none");
        }
      } catch (error) { /* the server is away for a moment: ask again */ }
      follow(root, figures, chart);
    }, document.hidden ? 5000 : 1000);
  }

  const STATES = { new: ["New", "#4f83cc"], retries: ["Retries", "#d9a13b"], sending: ["Sending", "#2e9d6a"], frozen: ["Frozen", "#8b93a1"] };
  const KEPT = 600;
  const OVERDUE = 6000;

  // The readings of the last minutes. A command loads the page again: they are kept for the tab.
  function history() {
    const key = "queue " + window.location.pathname;
    const since = Date.now() / 1000 - KEPT;
    const kept = JSON.parse(sessionStorage.getItem(key) || "[]").filter((reading) => reading.at > since);
    window.addEventListener("pagehide", () => sessionStorage.setItem(key, JSON.stringify(kept)));
    return kept;
  }

  function areas(readings) {
    const datasets = Object.entries(STATES).map(([name, [words, colour]], index) => ({ label: words, data: readings.map((reading) => reading[name]), borderColor: colour, backgroundColor: colour + "99", borderWidth: 1, pointRadius: 0, fill: index ? "-1" : "origin" }));
    return { labels: readings.map((reading) => label(reading.at, 1)), datasets };
  }

  function remember(readings, figures) {
    readings.push({ at: Date.now() / 1000, new: figures.new, retries: figures.retries, sending: figures.sending, frozen: figures.frozen });
    if (readings.length > KEPT) { readings.shift(); }
  }

  // The server ends a stream after some seconds, and the browser opens the next. A hidden page has none.
  function listen(root, heard) {
    const offline = root.querySelector("[data-offline]");
    let source = null;
    let last = Date.now();
    function open() {
      last = Date.now();
      source = new EventSource(root.dataset.stream);
      source.addEventListener("message", (event) => { last = Date.now(); heard(JSON.parse(event.data)); });
    }
    function turn() {
      if (source) { source.close(); source = null; }
      if (!document.hidden) { open(); }
    }
    setInterval(() => {
      offline.hidden = !source || Date.now() - last < OVERDUE;
      if (source && source.readyState === EventSource.CLOSED) { source = null; open(); }
    }, 3000);
    document.addEventListener("visibilitychange", turn);
    window.addEventListener("pagehide", () => { if (source) { source.close(); source = null; } });
    turn();
  }

  function watch(root) {
    const canvas = root.querySelector("[data-history]");
    const readings = canvas ? history() : [];
    const first = JSON.parse(document.getElementById("queue-figures").textContent);
    show(root, first);
    remember(readings, first);
    const chart = canvas ? draw(canvas, "line", areas(readings)) : null;
    listen(root, (figures) => {
      show(root, figures);
      remember(readings, figures);
      if (chart) { chart.data = areas(readings); chart.update("none"); }
    });
  }

  document.addEventListener("DOMContentLoaded", () => {
    const root = document.getElementById("report");
    if (root) {
      const figures = JSON.parse(document.getElementById("report-figures").textContent);
      show(root, figures);
      follow(root, figures, draw(root.querySelector("[data-chart]"), "bar", data(figures.timeline)));
    }
    const queue = document.getElementById("queue");
    if (queue) { watch(queue); }
    document.querySelectorAll("canvas[data-timeline]").forEach((canvas) => draw(canvas, "bar", data(JSON.parse(document.getElementById(canvas.dataset.timeline).textContent))));
    document.querySelectorAll("select[data-reload]").forEach((select) => select.addEventListener("change", () => {
      const address = new URL(window.location.href);
      address.searchParams.set(select.dataset.reload, select.value);
      window.location.assign(address);
    }));
    document.querySelectorAll("[data-copy]").forEach((button) => button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent.trim());
      button.textContent = "Copied";
    }));
  });
})();
