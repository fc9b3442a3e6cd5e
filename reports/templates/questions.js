// Search, filters, order and keys of the questions; the page's address keeps what was chosen.
(() => {
  "use strict";
  const form = document.getElementById("filters");
  if (!form) return;
  const field = {
    text: document.getElementById("filter-text"),
    task: document.getElementById("filter-task"),
    show: document.getElementById("filter-direction"),
    sort: document.getElementById("filter-sort"),
  };
  const count = document.getElementById("filter-count");
  const sections = [...document.querySelectorAll("section.task")];
  const places = sections.map((section) => [...section.querySelectorAll("details.question")]);
  const rows = places.flat();
  const texts = new Map();
  let order = "";

  // Read when a search needs it for the first time: some megabytes.
  const text = (row) => {
    if (!texts.has(row)) texts.set(row, row.textContent.toLowerCase());
    return texts.get(row);
  };
  const visible = () => [...document.querySelectorAll("details.question")].filter((row) => !row.hidden && !row.parentElement.hidden);

  const sort = () => {
    if (order === field.sort.value) return;
    order = field.sort.value;
    const gap = (row) => Math.abs(Number(row.dataset.gap));
    sections.forEach((section, number) => {
      const kept = places[number];
      section.append(...(order === "gap" ? [...kept].sort((a, b) => gap(b) - gap(a)) : kept));
    });
  };

  const apply = () => {
    sort();
    const wanted = field.text.value.trim().toLowerCase();
    let shown = 0;
    sections.forEach((section, number) => {
      const other = field.task.value && section.dataset.task !== field.task.value;
      let here = 0;
      for (const row of places[number]) {
        row.hidden = Boolean(other || (field.show.value && row.dataset.direction !== field.show.value) || (wanted && !text(row).includes(wanted)));
        here += row.hidden ? 0 : 1;
      }
      section.hidden = here === 0;
      shown += here;
    });
    count.textContent = `${shown} of ${rows.length} shown`;
  };

  // "#questions?text=pass&show=iha&open=ID", or the id of a question alone.
  const write = (open) => {
    const chosen = new URLSearchParams();
    for (const name in field) if (field[name].value) chosen.set(name, field[name].value);
    if (open) chosen.set("open", open);
    const words = chosen.toString();
    history.replaceState(null, "", words ? `#questions?${words}` : "#questions");
  };

  const show = (row) => {
    for (const other of rows) if (other !== row && other.open) other.open = false;
    row.open = true;
    const summary = row.querySelector("summary");
    summary.focus({ preventScroll: true });
    summary.scrollIntoView({ block: "start" });
  };

  const read = () => {
    const [place, words] = location.hash.split("?");
    if (words !== undefined && place === "#questions") {
      const chosen = new URLSearchParams(words);
      for (const name in field) field[name].value = chosen.get(name) || "";
      apply();
      const row = document.getElementById(chosen.get("open") || "");
      if (row && rows.includes(row)) show(row);
      else document.getElementById("questions").scrollIntoView();
      return;
    }
    let id = place.slice(1);
    try { id = decodeURIComponent(id); } catch { /* No question's id. */ }
    const row = document.getElementById(id);
    if (!row || !rows.includes(row)) return;
    if (row.hidden) { form.reset(); apply(); }
    show(row);
  };

  const step = (by) => {
    const seen = visible();
    if (!seen.length) return;
    const focused = document.activeElement.closest("details.question");
    const now = seen.indexOf(focused || seen.find((row) => row.open));
    const next = now < 0 ? (by > 0 ? 0 : seen.length - 1) : now + by;
    if (next < 0 || next >= seen.length) return;
    show(seen[next]);
    write(seen[next].id);
  };

  let waiting;
  field.text.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => { apply(); write(); }, 150);
  });
  form.addEventListener("change", () => { apply(); write(); });
  form.addEventListener("submit", (event) => event.preventDefault());
  document.getElementById("previous").addEventListener("click", () => step(-1));
  document.getElementById("next").addEventListener("click", () => step(1));
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !event.target.closest?.("details.question")) return;
    const by = { n: 1, p: -1 }[event.key];
    if (!by) return;
    event.preventDefault();
    step(by);
  });
  window.addEventListener("hashchange", read);

  form.hidden = false;
  document.getElementById("keys").hidden = false;
  document.getElementById("no-filters").hidden = true;
  // Whatever takes the focus stays clear of the bar, however many lines it has.
  const measure = () => {
    const stuck = getComputedStyle(form).position === "sticky";
    document.documentElement.style.scrollPaddingTop = stuck ? `${form.offsetHeight + 8}px` : "";
  };
  new ResizeObserver(measure).observe(form);
  measure();
  // A reload may keep what was selected.
  apply();
  read();
})();
